"""Certificates and keys of a deployment: what is missing is made, what is there is never touched."""

from __future__ import annotations

from pathlib import Path

from fedcrucible.deploy.topology import Topology, server_files
from fedcrucible.engines.flower.keys import create_node_key, create_server_certificate
from fedcrucible.engines.flower.node_keys import public_line, read_public_key
from fedcrucible_core.config.errors import ConfigError


def make_keys(topology: Topology, folder: Path, *, nodes: bool = True) -> list[Path]:
    """Make the server's certificate and each site's key pair in ``folder`` where there is none; returns new files.

    ``nodes=False`` makes the server's alone, for sites that make their own.  Raises ConfigError where half of
    something is there, which must be mended by hand, and OSError where the folder can't be written.
    """
    made: list[Path] = []
    server = server_files(folder)
    if _incomplete([server.authority, server.certificate, server.key]):
        create_server_certificate(folder, topology.certificate_names, topology.superlink.certificate_days)
        made += [server.authority, server.certificate, server.key]
    for site in topology.sites if nodes else ():
        if _incomplete([folder / site.name, folder / f"{site.name}.pub"]):
            pair = create_node_key(folder, site.name)
            made += [pair.private, pair.public]
    return made


def public_keys(topology: Topology, folder: Path) -> dict[str, str]:
    """Each site's public key by name, a line in OpenSSH's format.

    Raises ConfigError that names the first site without one, or the file that holds none.
    """
    found: dict[str, str] = {}
    for site in topology.sites:
        path = folder / f"{site.name}.pub"
        if not path.is_file():
            raise ConfigError("keys", str(folder), f"{path.name} is missing: the public key of site {site.name}")
        found[site.name] = public_line(read_public_key(path, "keys"))
    return found


def _incomplete(files: list[Path]) -> bool:
    """Whether none of the files is there; some without the others are an error."""
    missing = [path.name for path in files if not path.is_file()]
    if missing and len(missing) < len(files):
        there = next(path for path in files if path.is_file())
        allowed = f"{', '.join(missing)} missing beside {there.name}: put it back, or remove {there.name} too"
        raise ConfigError("keys", str(there.parent), allowed)
    return bool(missing)
