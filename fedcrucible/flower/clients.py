"""Who is who: nodes of a foreign app as numbered clients, by key where a node has one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from flwr.app import Message
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid

from fedcrucible_core.config.plain_text import plain_text
from strategies.bindings import fingerprint
from strategies.outcome import NodeIdentity


class Clients:
    """Numbers 0, 1, ... for nodes, in the order in which they are first asked.

    A node is known by the fingerprint of its public key where it has one, so that it stays the same client when it
    comes back under another node id; else by its node id.
    """

    def __init__(self, known: Mapping[str, int] | None = None) -> None:
        self.known = dict(known or {})
        """Fingerprint or ``node <id>`` -> client number."""
        self.asked: dict[int, int] = {}
        """Node id -> client number of this round's participants."""
        self._messages: list[Message] = []
        self._identities: dict[int, NodeIdentity] = {}

    def ask(self, grid: Grid, messages: Iterable[Message]) -> list[Message]:
        """Remember who is asked; returns the messages."""
        self._messages = list(messages)
        nodes = sorted({message.metadata.dst_node_id for message in self._messages})
        told = self._told(grid)
        self.asked = {}
        for node in nodes:
            info = told.get(node, NodeInfo(node_id=node))
            key = fingerprint(info.public_key)
            number = self.known.setdefault(key or f"node {node}", len(self.known))
            self.asked[node] = number
            self._identities[number] = NodeIdentity(node, plain_text(info.name, 60), key)
        return self._messages

    def answers(self, replies: Iterable[Message]) -> list[tuple[int, Message | None]]:
        """Client number and reply of everybody who was asked, by number; the first reply of each, None without any.

        Error replies of the SuperLink carry its own node id, so a reply is matched by the message that it answers.
        """
        nodes = {message.metadata.message_id: message.metadata.dst_node_id for message in self._messages}
        found: dict[int, Message] = {}
        for reply in replies:
            metadata = reply.metadata
            node = nodes.get(metadata.reply_to_message_id, metadata.src_node_id)
            found.setdefault(node, reply)
        self._messages = []
        if not self.asked:  # replies to nobody's messages: aggregated by hand, without configure_train
            self.asked = {node: self.known.setdefault(f"node {node}", len(self.known)) for node in sorted(found)}
        return sorted(((number, found.get(node)) for node, number in self.asked.items()), key=lambda answer: answer[0])

    def identities(self, numbers: Sequence[int]) -> dict[int, NodeIdentity]:
        """Which nodes some clients are, as far as that is known."""
        return {number: self._identities[number] for number in numbers if number in self._identities}

    @staticmethod
    def _told(grid: Grid) -> dict[int, NodeInfo]:
        """What the SuperLink says of nodes; nothing where a grid can't say it."""
        try:
            return {node.node_id: node for node in grid.get_nodes()}
        except (AttributeError, NotImplementedError):
            return {}
