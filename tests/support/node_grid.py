"""A Grid whose nodes come, go, restart, keep silent or answer nonsense."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.proto.node_pb2 import NodeInfo

from client_app.app import app as honest_app
from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible_core.config.load import flatten, load
from fedcrucible_core.config.values import Scalar
from strategies.nodes import NodeDirectory

SETTINGS: Mapping[str, Scalar] = {
    "strategy": "fedavg",
    "run.rounds": 1,
    "adversary.malicious_fraction": 0.0,
    "federation.clients": 3,
    "federation.wait_for_clients_s": 0.05,
    "federation.poll_s": 0.01,
    "task.train_samples": 60,
    "task.test_samples": 20,
    "partition.name": "iid",
    "model.name": "resnet8",
    "model.resnet8.width": 4,
    "output.report": False,
}
Answer = Callable[[RecordDict], RecordDict | None]


def node(number: int) -> int:
    """Flower's id of the node of this number."""
    return number + 2


class NodeGrid(LocalGrid):
    """Nodes 0, 1, ... with partitions of the same number unless ``node_configs`` says otherwise."""

    def __init__(
        self, nodes: int, node_configs: Mapping[int, Mapping[str, Scalar | None]] | None = None, **more: Scalar
    ) -> None:
        self.config = load({**SETTINGS, **{key.replace("__", "."): value for key, value in more.items()}})
        self.answers: dict[int, Answer] = {}
        """What a node makes of its honest answer to the query; None = no answer."""
        self.online = set(range(nodes))
        self.infos: dict[int, dict[str, Any]] = {}
        """Changes to what the SuperLink knows of a node."""
        self.asked: list[tuple[int, str]] = []
        """Every message: node and type."""
        app = ClientApp()
        app.train()(lambda msg, context: honest_app(msg, context))
        app.query()(self._query)
        super().__init__(app, nodes, flatten(self.config), node_configs=node_configs)

    def directory(self, in_order: bool = False) -> NodeDirectory:
        """A directory of the settings."""
        return NodeDirectory(self.config.federation, in_order)

    def get_node_ids(self) -> Iterable[int]:
        """Nodes that are online, in no order."""
        return {node(n) for n in self.online}

    def get_nodes(self) -> Iterable[NodeInfo]:
        """The same with what is known of them."""
        ids = {node(n): n for n in self.online}
        return [
            NodeInfo(**{"node_id": i, "registered_at": str(i).zfill(12), **self.infos.get(n, {})})
            for i, n in ids.items()
        ]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Remember who is asked what."""
        batch = list(messages)
        self.asked += [(m.metadata.dst_node_id - 2, m.metadata.message_type) for m in batch]
        return super().push_messages(batch)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Replies, without those of silent nodes."""
        found = super().pull_messages(message_ids)
        return [m for m in found if m.has_error() or "silent" not in m.content]

    def _query(self, msg: Message, context: Context) -> Message:
        reply = honest_app(msg, context)
        change = self.answers.get(context.node_id - 2)
        content = reply.content if change is None else change(reply.content)
        return Message(RecordDict({"silent": ConfigRecord()}) if content is None else content, reply_to=msg)


def silent(content: RecordDict) -> None:
    """No answer."""
