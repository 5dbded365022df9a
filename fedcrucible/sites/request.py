"""What a site sends to the server: its public key, its name and its versions, signed with the key that stays there."""

from __future__ import annotations

import base64
import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import Field

from fedcrucible.engines.flower.keys import create_node_key
from fedcrucible.engines.flower.node_keys import parse_public_key, public_line, read_private_key
from fedcrucible.sites.document import Document, read_document, write_document
from fedcrucible.sites.names import site_name
from fedcrucible_core.config.errors import ConfigError
from fedcrucible_core.records.environment import ROOT, source_digest, version_of

ENDING = ".request.json"
PINNED = ("fedcrucible", "flwr", "torch", "torchvision", "numpy")
"""Packages whose versions both sides tell each other, beside ``python``."""
Word = Annotated[str, Field(max_length=100, pattern=r"^[ -~]*$")]
"""A short text of visible ASCII characters: nothing in it can move a cursor."""
Versions = Annotated[dict[Word, Word], Field(max_length=20)]
Name = Annotated[str, Field(max_length=40)]


class SiteRequest(Document):
    """Request of a site."""

    format: Literal["fedcrucible-site-request-1"] = "fedcrucible-site-request-1"
    site: Name
    public_key: Annotated[str, Field(max_length=1000, pattern=r"^[ -~]+$")]
    """The public key's line in OpenSSH's format."""
    versions: Versions
    source_sha256: Word
    """SHA-256 of the installed program, as records name it."""
    created_utc: Word
    signature: Annotated[str, Field(max_length=200, pattern=r"^[ -~]*$")] = ""
    """ECDSA over all the rest, in base64: whoever sends this holds the private key."""

    @property
    def key(self) -> ec.EllipticCurvePublicKey:
        """The public key. Raises ConfigError."""
        return parse_public_key(self.public_key)

    @property
    def signed(self) -> bytes:
        """What the signature is over."""
        return json.dumps(self.model_dump(exclude={"signature"}), sort_keys=True).encode()


def make_request(name: str, folder: Path) -> tuple[Path, Path, SiteRequest]:
    """Write a site's request for its key ``folder/name``, which is made where it is not there yet.

    Returns:
        The private key's path, the request's path, and the request.

    Raises:
        ConfigError: a name that is none, or what lies at the key's place is no such key.
    """
    private = folder / site_name(name)
    if not private.exists():
        create_node_key(folder, name)
    key = read_private_key(private)
    request = SiteRequest(
        site=name,
        public_key=public_line(key.public_key()),
        versions=dict(local_versions()),
        source_sha256=source_digest(ROOT),
        created_utc=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    signature = key.sign(request.signed, ec.ECDSA(hashes.SHA256()))
    request = request.model_copy(update={"signature": base64.b64encode(signature).decode()})
    path = folder / f"{name}{ENDING}"
    write_document(path, request)
    return private, path, request


def read_request(path: Path) -> SiteRequest:
    """A request that somebody sent. Raises ConfigError for anything that ``make_request`` doesn't write."""
    request = read_document(path, SiteRequest, "request")
    site_name(request.site)
    try:
        signature = base64.b64decode(request.signature, validate=True)
        request.key.verify(signature, request.signed, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        allowed = "its signature isn't by the key in it: damaged or changed on the way, let the site send it again"
        raise ConfigError("request", str(path), allowed) from None
    return request


def local_versions() -> Mapping[str, str]:
    """The versions of what is installed here."""
    found = {name: version for name in PINNED if (version := version_of(name))}
    return {"python": platform.python_version(), **found}
