"""Flower's own in-memory grid over clients of this process: its state without its database, and without Ray."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast

from flwr.app import Message
from flwr.clientapp import ClientApp
from flwr.proto.node_pb2 import NodeInfo
from flwr.superlink.grid import InMemoryGrid

from fedcrucible.engines.local_grid import LocalGrid

RUN = 1


class _State:
    """The part of Flower's link state that its grid asks; what is stored is answered at once."""

    def __init__(self, clients: LocalGrid) -> None:
        self.clients = clients
        self.answers: dict[str, Message] = {}

    def get_nodes(self, run_id: int) -> set[int]:
        return set(self.clients.get_node_ids())

    def get_node_info(self, *, node_ids: Iterable[int]) -> list[NodeInfo]:
        wanted = set(node_ids)
        return [node for node in self.clients.get_nodes() if node.node_id in wanted]

    def store_message_ins(self, message: Message) -> str:
        reply = self.clients._answer(message)
        self.answers[message.metadata.message_id] = reply
        return message.metadata.message_id

    def get_message_res(self, message_ids: set[str], run_id: int) -> list[Message]:
        return [self.answers.pop(i) for i in sorted(message_ids, reverse=True) if i in self.answers]

    def delete_messages(self, message_ins_ids: set[str]) -> None:
        """Answers are gone once they are handed out."""


def flower_grid(client_app: ClientApp, clients: int, run_config: dict[str, Any]) -> InMemoryGrid:
    """Flower's grid; replies come in another order than messages went out."""
    state = _State(LocalGrid(client_app, clients, run_config))
    grid = InMemoryGrid(cast(Any, SimpleNamespace(state=lambda: state)), pull_interval=0.01)
    grid._run = cast(Any, SimpleNamespace(run_id=RUN))
    return grid
