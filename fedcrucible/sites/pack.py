"""What goes back to an approved site: one file with all that its node needs, and no secret."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from fedcrucible.sites.address import parse_address
from fedcrucible.sites.authority import authority_fingerprint, checked_authority
from fedcrucible.sites.document import LARGEST, Document, read_document, write_document
from fedcrucible.sites.names import site_name
from fedcrucible.sites.request import Name, Versions, Word, local_versions
from fedcrucible.sites.roster import Site
from fedcrucible_core.config.atomic_file import write_atomic
from fedcrucible_core.config.errors import ConfigError
from fedcrucible_core.records.environment import ROOT, source_digest

ENDING = ".site.json"
AUTHORITY = "ca.crt"
Count = Annotated[int, Field(ge=0, le=1_000_000)]
Place = Annotated[str, Field(max_length=500, pattern=r"^[^\x00-\x1f\x7f'\"]*$")]
"""A folder's name; without quotation marks, for Flower's ``--node-config`` knows no way to write them."""


class SitePack(Document):
    """Pack of a site."""

    format: Literal["fedcrucible-site-pack-1"] = "fedcrucible-site-pack-1"
    site: Name
    key_fingerprint: Word
    """Of the site's own public key, so that nobody starts with another's pack."""
    superlink: Annotated[str, Field(max_length=300)]
    ca_pem: Annotated[str, Field(max_length=LARGEST)]
    ca_fingerprint: Word
    source_sha256: Word
    """SHA-256 of the program that the server has installed, as records name it."""
    versions: Versions
    partition: Count
    partitions: Count
    data_dir: Place = ""
    own_data: bool = False

    @property
    def node_config(self) -> str:
        """The value of ``--node-config``."""
        words = [f"partition-id={self.partition}", f"num-partitions={self.partitions}", "role='benign'"]
        if self.data_dir:
            words.append(f"data-dir='{self.data_dir}'")
        return " ".join([*words, "own-data=true"] if self.own_data else words)

    def command(self, folder: Path) -> list[str]:
        """How the node is started, with the key and the CA's certificate in ``folder``."""
        return [
            "flower-supernode",
            *("--superlink", self.superlink),
            *("--root-certificates", str(folder / AUTHORITY)),
            *("--auth-supernode-private-key", str(folder / self.site)),
            *("--node-config", self.node_config),
        ]

    def shell(self, folder: Path) -> str:
        """The same for a shell."""
        return shlex.join(self.command(folder))


def make_pack(
    site: Site, superlink: str, ca_pem: str, partitions: int, *, data_dir: str = "", own_data: bool = False
) -> SitePack:
    """The pack of a site that has been assigned a partition, for a program like the one that runs here.

    Raises:
        ConfigError: no address, or a folder that can't be written in a node's configuration.
    """
    try:
        return SitePack(
            site=site.site,
            key_fingerprint=site.fingerprint,
            superlink=str(parse_address(superlink)),
            ca_pem=ca_pem,
            ca_fingerprint=authority_fingerprint(ca_pem),
            source_sha256=source_digest(ROOT),
            versions=dict(local_versions()),
            partition=site.partition or 0,
            partitions=partitions,
            data_dir=data_dir,
            own_data=own_data,
        )
    except ConfigError:
        raise
    except ValueError:
        allowed = "a folder's name of at most 500 characters, without quotation marks and control characters"
        raise ConfigError("data_dir", data_dir, allowed) from None


def write_pack(folder: Path, pack: SitePack) -> Path:
    """Write ``NAME.site.json`` and return its path. Raises OSError."""
    path = folder / f"{pack.site}{ENDING}"
    write_document(path, pack)
    return path


def read_pack(path: Path) -> SitePack:
    """A pack that came from a server. Raises ConfigError for anything that ``make_pack`` doesn't make."""
    pack = read_document(path, SitePack, "pack", 2 * LARGEST)
    site_name(pack.site, "pack")
    parse_address(pack.superlink, "pack")
    checked_authority(pack.ca_pem.encode(), "pack", str(path))
    if pack.ca_fingerprint != authority_fingerprint(pack.ca_pem):
        raise ConfigError("pack", str(path), "its CA certificate isn't the one that it names: damaged, ask for another")
    return pack


def unpack(pack: SitePack, folder: Path) -> Path:
    """Write the CA's certificate into ``folder`` and return its path.

    Raises:
        ConfigError: another certificate lies there.
    """
    path = folder / AUTHORITY
    if path.exists() and path.read_bytes() != pack.ca_pem.encode():
        raise ConfigError("pack", str(path), "is another CA's certificate; move it away if the server has a new one")
    write_atomic(path, pack.ca_pem.encode())
    return path
