"""A pack that has arrived at its site: is it from the server, and for this key?"""

from __future__ import annotations

from pathlib import Path

from fedcrucible.engines.flower.node_keys import fingerprint, read_private_key
from fedcrucible.sites.authority import is_authority
from fedcrucible.sites.pack import SitePack, read_pack, unpack
from fedcrucible_core.config.errors import ConfigError


def accept(path: Path, folder: Path, told: str) -> tuple[SitePack, Path]:
    """The pack and the path of the CA's certificate, which is written beside the key in ``folder``.

    Raises:
        ConfigError: no pack, another CA's fingerprint than was read out, no key of that name in ``folder``, or a key
            that the pack isn't for.
    """
    pack = read_pack(path)
    if not is_authority(told, pack.ca_pem):
        allowed = (
            f"the pack's CA has {pack.ca_fingerprint}: read it out again, all of it; if it still differs, somebody has "
            "exchanged the pack, and would get to run programs here"
        )
        raise ConfigError("fingerprint", told, allowed)
    own = fingerprint(read_private_key(folder / pack.site).public_key())
    if own != pack.key_fingerprint:
        raise ConfigError("pack", str(path), f"is for the key {pack.key_fingerprint}; {folder / pack.site} is {own}")
    return pack, unpack(pack, folder)
