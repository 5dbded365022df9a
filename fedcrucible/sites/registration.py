"""Telling a SuperLink whose SuperNode it may let in, and asking it whom it knows."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fedcrucible.engines.flower.command import CONNECTION, FlowerRunError, flwr, write_connection
from fedcrucible.engines.flower.environment import flower_environment
from fedcrucible.sites.roster import Site
from fedcrucible_core.config.plain_text import error_text, plain_text

UNREGISTERED = "unregistered"
"""What the SuperLink says of a key that it will never let in again."""


@dataclass(frozen=True)
class KnownNode:
    """A SuperNode as the SuperLink sees it; ``state`` is registered, online, offline or unregistered."""

    node_id: str
    name: str
    state: str


@dataclass(frozen=True)
class SuperLinkAccess:
    """How an administrator reaches the SuperLink; made by :func:`reaching`."""

    address: str
    ca: Path
    folder: Path
    environment: Mapping[str, str]

    def register(self, site: Site) -> KnownNode:
        """Make the SuperLink know a site's key, unless it does; returns the node.

        Raises:
            FlowerRunError: it can't be reached, refuses, or has unregistered this key before.
        """
        known = self.nodes().get(site.fingerprint)
        if known is None:
            public = self.folder / f"{site.site}.pub"
            public.write_text(f"{site.public_key}\n", encoding="ascii")
            self._change("register", str(public), CONNECTION, "--name", site.site)
            known = self.nodes().get(site.fingerprint)
        if known is None:
            raise FlowerRunError("the SuperLink has taken the key, but doesn't list it")
        if known.state == UNREGISTERED:
            raise FlowerRunError("the SuperLink has unregistered this key and takes it no more: a new key is needed")
        return known

    def unregister(self, site: Site) -> bool:
        """Make the SuperLink refuse a site's key for good; False where it doesn't let it in anyway.

        Raises FlowerRunError where it can't be reached or refuses.
        """
        known = self.nodes().get(site.fingerprint)
        if known is None or known.state == UNREGISTERED:
            return False
        self._change("unregister", known.node_id, CONNECTION)
        return True

    def nodes(self) -> dict[str, KnownNode]:
        """Key's fingerprint -> node, of all that the SuperLink ever knew. Raises FlowerRunError.

        ``flwr supernode list`` doesn't tell keys, so Flower's own client is asked.
        """
        from flwr.proto.control_pb2 import ListNodesRequest
        from flwr.supercore.control import ControlHttpClient

        from strategies.bindings import fingerprint

        try:
            with ControlHttpClient.from_server_address(self.address, False, self.ca.read_bytes(), []) as client:
                listed = client.ListNodes(ListNodesRequest()).nodes_info
        except Exception as error:  # httpx's, ssl's, protobuf's: whatever stands at that address
            raise FlowerRunError(f"the SuperLink at {self.address} can't be asked: {error_text(error)}") from None
        return {
            fingerprint(node.public_key): KnownNode(
                str(node.node_id), plain_text(node.name, 40), plain_text(node.status, 20)
            )
            for node in listed
        }

    def _change(self, *arguments: str) -> None:
        """Let ``flwr supernode`` do something. Its exit code is 0 whatever happens, so its answer is read."""
        text = flwr(self.folder, self.environment, "supernode", *arguments, "--format", "json")
        try:
            answer = json.loads(text[text.index("{") :])
        except ValueError:
            raise FlowerRunError(f"flwr answered no JSON: {plain_text(text)}") from None
        if not answer.get("success"):
            said = str(answer.get("error-message", "no cause")).strip().split("\n")[-1]
            raise FlowerRunError(plain_text(said, 500))


@contextmanager
def reaching(superlink: str, ca: Path) -> Iterator[SuperLinkAccess]:
    """Access to the SuperLink at HOST:PORT with a FLWR_HOME of its own, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="fedcrucible-sites-") as folder:
        home = Path(folder) / "home"
        write_connection(home, superlink, ca)
        yield SuperLinkAccess(superlink, ca, Path(folder), flower_environment(home))
