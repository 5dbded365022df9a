"""The clients as a run deals with them: who is online, takes part and is malicious, and what they answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from flwr.app import Message
from flwr.serverapp import Grid

from fedcrucible_core.config.compose import RunConfigBase
from strategies.exchange import exchange
from strategies.node import Node
from strategies.nodes import NodeDirectory
from strategies.progress import Progress
from strategies.sampling import sample
from strategies.virtual_nodes import declaring, partitions_of

NEAR_POLL_S = 0.05
"""Seconds between polls where nodes are virtual."""


class Answers:
    """Replies of one exchange by node; of a node whose reply could not be fetched the error."""

    def __init__(self, by_node: dict[int, Message | Exception]) -> None:
        self.by_node = by_node

    @classmethod
    def of(cls, replies: Iterable[Message], asked: Sequence[Message] = ()) -> Answers:
        """Replies as Flower's own loop hands them on; ``asked`` are the messages that they answer.

        Error replies of the SuperLink carry its own node id, so a reply is matched by the message it answers.
        """
        if isinstance(replies, Answers):
            return replies
        nodes = {message.metadata.message_id: message.metadata.dst_node_id for message in asked}
        return cls({nodes.get(r.metadata.reply_to_message_id, r.metadata.src_node_id): r for r in replies})

    def __iter__(self) -> Iterator[Message]:
        return (answer for answer in self.by_node.values() if isinstance(answer, Message))

    def __len__(self) -> int:
        return len(self.by_node)

    def of_nodes(self, nodes: Sequence[Node]) -> list[tuple[int, Message | Exception | None]]:
        """Partition and answer of each node, in the order given; None where there is no answer."""
        return [(node.partition, self.by_node.get(node.node_id)) for node in nodes]

    def clear(self) -> None:
        """Forget all: replies of a round take n times the model's memory."""
        self.by_node.clear()


class Roster:
    """The run's clients on a grid."""

    def __init__(
        self, nodes: NodeDirectory, config: RunConfigBase, malicious: frozenset[int], progress: Progress | None = None
    ) -> None:
        self.nodes = nodes
        self.config = config
        self.malicious = malicious
        """Ground truth by seed; roles that nodes declare come on top."""
        self.progress = progress or Progress()

    def online(self, grid: Grid) -> Sequence[Node]:
        """Nodes that can be asked now, in partition order."""
        return self.nodes.refresh(grid)

    def participants(self, server_round: int, grid: Grid) -> list[Node]:
        """The nodes that are sampled for a round, in partition order; none that is excluded from it."""
        self.nodes.round = server_round
        nodes = self.nodes.refresh(grid)
        partitions = partitions_of(nodes)
        drawn = sample(partitions, self.config, server_round, self._truth(nodes))
        return [nodes[int(at)] for at in np.searchsorted(partitions, drawn)]

    def attackers(self, grid: Grid) -> list[Node]:
        """The malicious nodes that are online."""
        nodes = self.nodes.refresh(grid)
        truth = self._truth(nodes)
        return [node for node in nodes if node.partition in truth]

    def malicious_among(self, nodes: Sequence[Node]) -> list[int]:
        """Partitions of the malicious ones of some nodes: ground truth, for detection figures alone."""
        truth = self._truth(nodes)
        return [node.partition for node in nodes if node.partition in truth]

    def send(self, grid: Grid, messages: Sequence[Message], timeout: float) -> Answers:
        """Send messages, one per node, and collect what comes within ``timeout`` seconds."""
        in_order = self.nodes.in_order
        poll = NEAR_POLL_S if in_order else self.config.federation.poll_s
        partitions = self.nodes.partitions_of_ids({message.metadata.dst_node_id for message in messages})
        self.progress.ask(sorted(partitions.values()), timeout)

        def heard(node: int) -> None:
            if node in partitions:
                self.progress.hear(partitions[node])

        return Answers(exchange(grid, messages, timeout, poll, one_by_one=not in_order, heard=heard))

    def _truth(self, nodes: Sequence[Node]) -> frozenset[int]:
        told = declaring(nodes)
        declared = {n.partition: n.declared_malicious for n in told if n.declared_malicious is not None}
        if not declared:
            return self.malicious
        return frozenset(p for p, bad in declared.items() if bad) | (self.malicious - set(declared))
