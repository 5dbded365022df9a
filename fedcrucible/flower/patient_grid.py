"""A grid by which one node's reply, however broken or withheld, costs that reply alone."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from flwr.app import Message, RecordDict
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid

from fedcrucible.flower.on_disk import DiskRoom
from strategies.exchange import exchange, in_simulation
from strategies.roster import NEAR_POLL_S

AT_A_TIME = 4
"""Replies that are on their way to the disk together, so that few are in memory."""


class PatientGrid(Grid):
    """Hands all on to the app's own grid, but fetches replies one by one where they come over a network.

    Flower's own exchange decodes all replies at once: one that can't be decoded ends the run.
    """

    def __init__(self, grid: Grid, poll: float, room: DiskRoom | None = None) -> None:
        self.grid = grid
        self.poll = poll
        self.room = room
        """Where replies go as they come; None = they stay in memory."""
        self.failed: dict[int, Exception] = {}
        """Of the last exchange: node -> what happened to its reply."""

    def set_run(self, run: Any) -> None:
        """Of the app's grid."""
        self.grid.set_run(run)

    @property
    def run(self) -> Any:
        """Of the app's grid."""
        return self.grid.run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Of the app's grid."""
        return self.grid.create_message(content, message_type, dst_node_id, group_id, ttl)

    def get_node_ids(self) -> Iterable[int]:
        """Of the app's grid."""
        return self.grid.get_node_ids()

    def get_nodes(self) -> Iterable[NodeInfo]:
        """Of the app's grid."""
        return self.grid.get_nodes()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Of the app's grid."""
        return self.grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Of the app's grid."""
        pulled = self.grid.pull_messages(message_ids)
        return pulled if self.room is None else [self.room.moved(message) for message in pulled]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Send messages, one per node, and collect what comes within ``timeout`` seconds."""
        batch = list(messages)
        self.failed = {}
        if not batch:
            return []
        near = in_simulation(self.grid)  # there nothing is decoded
        answers = exchange(
            self,
            batch,
            float("inf") if timeout is None else timeout,
            NEAR_POLL_S if near else self.poll,
            one_by_one=not near,
            at_a_time=sys.maxsize if self.room is None else AT_A_TIME,
        )
        self.failed = {node: answer for node, answer in answers.items() if isinstance(answer, Exception)}
        return [answer for answer in answers.values() if isinstance(answer, Message)]
