"""Who is who: nodes of a foreign app as numbered clients, by key where a node has one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from flwr.app import Message
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid

from fedcrucible_core.config.plain_text import plain_text
from strategies.bindings import fingerprint
from strategies.outcome import NodeIdentity


@dataclass(frozen=True)
class Asked:
    """Whom some messages went to."""

    numbers: Mapping[int, int] = field(default_factory=dict)
    """Node id -> client number."""
    messages: tuple[Message, ...] = ()

    @property
    def clients(self) -> list[int]:
        """Their numbers, ascending."""
        return sorted(self.numbers.values())

    def answers(
        self, replies: Iterable[Message], failed: Mapping[int, Exception] | None = None
    ) -> list[tuple[int, Message | Exception | None]]:
        """Client number and first reply of everybody who was asked, by number; None without any.

        ``failed`` is what happened, by node, to replies that could not be fetched.  Error replies of the SuperLink
        carry its own node id, so a reply is matched by the message that it answers.
        """
        nodes = {message.metadata.message_id: message.metadata.dst_node_id for message in self.messages}
        found: dict[int, Message | Exception] = {}
        for reply in (reply for reply in replies if isinstance(reply, Message)):
            metadata = reply.metadata
            found.setdefault(nodes.get(metadata.reply_to_message_id, metadata.src_node_id), reply)
        found = {**(failed or {}), **found}
        by_number = {number: node for node, number in self.numbers.items()}
        return [(number, found.get(by_number[number])) for number in self.clients]


class Clients:
    """Numbers 0, 1, ... for nodes, in the order in which they are first asked.

    A node is known by the fingerprint of its public key where it has one, so that it stays the same client when it
    comes back under another node id; else by its node id.
    """

    def __init__(self, known: Mapping[str, int] | None = None) -> None:
        self.known = dict(known or {})
        """Fingerprint or ``node <id>`` -> client number."""
        self.identities: dict[int, NodeIdentity] = {}
        """Which node each client is, or last was."""

    def ask(self, grid: Grid, messages: Iterable[Message]) -> Asked:
        """Who the receivers of some messages are."""
        sent = tuple(messages)
        nodes = {message.metadata.dst_node_id for message in sent}
        told = _told(grid) if nodes - {identity.node_id for identity in self.identities.values()} else {}
        return Asked({node: self._number(node, told.get(node)) for node in sorted(nodes)}, sent)

    def of_replies(self, replies: Iterable[Message]) -> Asked:
        """The senders of some replies, where nobody knows who was asked: rounds by hand, without configure_train."""
        nodes = {reply.metadata.src_node_id for reply in replies if isinstance(reply, Message)}
        return Asked({node: self._number(node, None) for node in sorted(nodes)})

    def _number(self, node: int, info: NodeInfo | None) -> int:
        for number, identity in self.identities.items():
            if identity.node_id == node:
                return number
        key = "" if info is None else fingerprint(info.public_key)
        number = self.known.setdefault(key or f"node {node}", len(self.known))
        self.identities[number] = NodeIdentity(node, "" if info is None else plain_text(info.name, 60), key)
        return number


def _told(grid: Grid) -> dict[int, NodeInfo]:
    """What the SuperLink says of nodes; nothing where a grid can't say it."""
    try:
        return {node.node_id: node for node in grid.get_nodes()}
    except (AttributeError, NotImplementedError):
        return {}
