"""Telling a SuperLink whose SuperNodes it may let in, and asking it whom it knows.

Flower's own client is used, not ``flwr supernode``: one command costs seconds and a FLWR_HOME, tells no keys, and says
in prose what the SuperLink answers in JSON.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedcrucible.engines.flower.command import FlowerRunError
from fedcrucible.engines.flower.node_keys import fingerprint, parse_public_key
from fedcrucible.engines.flower.proxies import loopback_exempt
from fedcrucible_core.config.plain_text import error_text, plain_text
from strategies import bindings

if TYPE_CHECKING:
    from flwr.supercore.control import ControlHttpClient

ONLINE = "online"
"""What the SuperLink says of a node that it has heard of lately."""
UNREGISTERED = "unregistered"
"""What the SuperLink says of a key that it will never let in again."""
IN_USE = 23
"""Flower's answer to a key that it has already."""


@dataclass(frozen=True)
class KnownNode:
    """A SuperNode as the SuperLink sees it; ``state`` is registered, online, offline or unregistered."""

    node_id: str
    name: str
    state: str


@dataclass(frozen=True)
class Registration:
    """What came of registering one key; ``new`` where the SuperLink did not know it before."""

    node: KnownNode
    new: bool

    @property
    def refused(self) -> str:
        """Why the SuperLink lets this key in no more; empty where it does."""
        if self.node.state != UNREGISTERED:
            return ""
        return "the SuperLink has unregistered this key and takes it no more: a new key is needed"


@dataclass(frozen=True)
class SuperLinkAccess:
    """How an administrator reaches the SuperLink at ``address`` (HOST:PORT); ``authority`` is its CA's file."""

    address: str
    authority: Path

    def register(self, keys: Mapping[str, str]) -> dict[str, Registration]:
        """Make the SuperLink know public keys, each by the name of its node; what it knows stays as it is.

        ``keys``: name -> the key's line in OpenSSH's format.

        A key that it has unregistered before is ``refused`` for good, the others are registered all the same.

        Raises:
            ConfigError: a line that is no key.
            FlowerRunError: it can't be reached or refuses; some keys may be registered then.
        """
        from flwr.supercore.primitives.asymmetric import public_key_to_bytes

        wanted = {name: parse_public_key(line) for name, line in keys.items()}
        before = self.nodes()
        for name, key in wanted.items():
            if fingerprint(key) not in before:
                self._add(name, public_key_to_bytes(key))
        after = self.nodes()
        missing = [name for name, key in wanted.items() if fingerprint(key) not in after]
        if missing:
            raise FlowerRunError(f"the SuperLink has taken the key of {', '.join(missing)}, but doesn't list it")
        return {
            name: Registration(after[fingerprint(key)], fingerprint(key) not in before) for name, key in wanted.items()
        }

    def unregister(self, key_fingerprint: str) -> bool:
        """Make the SuperLink refuse a key for good; False where it doesn't let it in anyway.

        Raises FlowerRunError where it can't be reached or refuses.
        """
        from flwr.proto.control_pb2 import UnregisterNodeRequest

        known = self.nodes().get(key_fingerprint)
        if known is None or known.state == UNREGISTERED:
            return False
        with self._asking() as client:
            client.UnregisterNode(UnregisterNodeRequest(node_id=int(known.node_id)))
        return True

    def nodes(self) -> dict[str, KnownNode]:
        """Key's fingerprint -> node, of all that the SuperLink ever knew. Raises FlowerRunError."""
        from flwr.proto.control_pb2 import ListNodesRequest

        with self._asking() as client:
            listed = client.ListNodes(ListNodesRequest()).nodes_info
        return {
            bindings.fingerprint(node.public_key): KnownNode(
                str(node.node_id), plain_text(node.name, 40), plain_text(node.status, 20)
            )
            for node in listed
        }

    def _add(self, name: str, key: bytes) -> None:
        from flwr.proto.control_pb2 import RegisterNodeRequest

        with self._asking(harmless=IN_USE) as client:  # somebody else was quicker by a moment
            client.RegisterNode(RegisterNodeRequest(public_key=key, name=name))

    @contextmanager
    def _asking(self, harmless: int | None = None) -> Iterator[ControlHttpClient]:
        """Flower's client; whatever goes wrong with it is one FlowerRunError, but for the error code ``harmless``."""
        import httpx
        from flwr.supercore.control import ControlHttpClient

        try:
            with _loopback_is_direct():
                client = ControlHttpClient.from_server_address(self.address, False, self.authority.read_bytes(), [])
            with client:
                yield client
        except httpx.HTTPStatusError as error:
            code, said = _answer(error.response)
            if code is None or code != harmless:
                raise FlowerRunError(f"the SuperLink at {self.address} refuses: {said}") from None
        except Exception as error:  # httpx's, ssl's, protobuf's: whatever stands at that address
            raise FlowerRunError(f"the SuperLink at {self.address} can't be asked: {error_text(error)}") from None


def _answer(response: object) -> tuple[int | None, str]:
    """Code and text of an error of Flower's; no code where something else answers."""
    import httpx
    from flwr.supercore.error import FlowerError

    assert isinstance(response, httpx.Response)
    try:
        found = FlowerError.from_json(response.text)
    except RecursionError:  # nested beyond reason: nothing that Flower writes
        found = None
    if found is None:
        return None, f"HTTP {response.status_code} ({plain_text(response.text, 100)})"
    return int(found.code), plain_text(found.public_details or found.message, 300)


@contextmanager
def _loopback_is_direct() -> Iterator[None]:
    """httpx asks the environment for proxies once, when a client is made; a proxy can't reach this machine."""
    changed = loopback_exempt(os.environ)
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
