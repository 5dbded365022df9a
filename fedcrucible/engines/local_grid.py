"""A Flower Grid that calls the ClientApp directly: no Ray, no SuperLink, no start-up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import copy, deepcopy
from typing import Any
from uuid import uuid4

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.app.message.message import make_message
from flwr.clientapp import ClientApp
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

from fedcrucible_core.config.plain_text import error_text, plain_text
from fedcrucible_core.config.values import Scalar

_CLIENT_APP_RAISED = 2
"""Flower's error code CLIENT_APP_RAISED_EXCEPTION."""
FIRST_NODE = 2
"""Node id of partition 0: Flower's SuperLink is node 1."""
LONGEST_REASON = 1000
"""Characters of an exception's text that are sent; the server keeps fewer."""


class LocalGrid(Grid):
    """Runs every client in this process, one after the other, in the order the messages were pushed.

    ``on_reply(done, total)`` is called after each client of a batch, for progress bars.  ``node_configs`` adds to the
    configuration of single nodes, by partition, as ``--node-config`` does in a deployment; None takes a key away.
    """

    def __init__(
        self,
        client_app: ClientApp,
        clients: int,
        run_config: dict[str, Any],
        on_reply: Callable[[int, int], None] | None = None,
        node_configs: Mapping[int, Mapping[str, Scalar | None]] | None = None,
    ) -> None:
        _identify_process()
        self.client_app = client_app
        self.on_reply = on_reply
        self._run: Any = None
        self._replies: dict[str, Message] = {}
        self.clients = clients
        self.run_config = run_config
        self.node_configs: dict[int, Mapping[str, Scalar | None]] = dict(node_configs or {})
        """Changes to single nodes' configuration, by partition."""
        self._states: dict[int, RecordDict] = {}
        """What clients keep between messages, by node; nothing of those that keep nothing."""

    def set_run(self, run: Any) -> None:
        """Keep the run's description (unused)."""
        self._run = run

    @property
    def run(self) -> Any:
        """The run's description."""
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Make a message, as Flower's older interface does."""
        return Message(content, dst_node_id=dst_node_id, message_type=message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """All nodes."""
        return range(FIRST_NODE, FIRST_NODE + self.clients)

    def get_nodes(self) -> Iterable[NodeInfo]:
        """All nodes, registered in partition order as in Flower's simulation; each made when it is asked for."""
        return (NodeInfo(node_id=i, registered_at=str(i).zfill(12)) for i in self.get_node_ids())

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Run the ClientApp on each message now and keep the replies."""
        batch = list(messages)
        ids = []
        for done, message in enumerate(batch, start=1):
            message.metadata.__dict__["_message_id"] = str(uuid4())
            ids.append(message.metadata.message_id)
            self._replies[message.metadata.message_id] = self._answer(message)
            if self.on_reply is not None:
                self.on_reply(done, len(batch))
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Replies of the given messages, each handed out once."""
        return [self._replies.pop(i) for i in list(message_ids) if i in self._replies]

    def send_and_receive(
        self,
        messages: Iterable[Message],
        *,
        timeout: float | None = None,  # noqa: ARG002
    ) -> Iterable[Message]:
        """Push, then pull; ``timeout`` can't elapse because clients run within the push."""
        return self.pull_messages(self.push_messages(messages))

    def _answer(self, message: Message) -> Message:
        """What the client says; as in Flower's engines, whatever it does instead is an error reply and stops no run."""
        own = self._context(message.metadata.dst_node_id)
        state = own.state
        try:
            reply = self.client_app(_own_copy(message), own)
            state = own.state if isinstance(own.state, RecordDict) else state
            return reply if _answers(reply, message) else _failed(message, _misfit(reply))
        except KeyboardInterrupt:  # the user's
            raise
        except BaseException as error:  # SystemExit, and whatever else a client may think of
            return _failed(message, error_text(error, LONGEST_REASON))
        finally:
            if state or own.node_id in self._states:
                self._states[own.node_id] = state

    def _context(self, node_id: int) -> Context:
        """What a client is called with: a fresh one, but for what it kept."""
        partition = node_id - FIRST_NODE
        if not 0 <= partition < self.clients:
            raise KeyError(f"no node {node_id}")
        changes = self.node_configs.get(partition, {})
        state = self._states.get(node_id, RecordDict())
        return Context(1, node_id, _node_config(partition, self.clients, changes), state, dict(self.run_config))


def _own_copy(message: Message) -> Message:
    """The message as its receiver alone holds it: all of a round share one content, which a client may change."""
    content = RecordDict({key: _copy(record) for key, record in message.content.items()})
    return make_message(metadata=copy(message.metadata), content=content)


def _copy(record: ArrayRecord | MetricRecord | ConfigRecord) -> ArrayRecord | MetricRecord | ConfigRecord:
    if isinstance(record, ArrayRecord):
        return ArrayRecord({key: Array(a.dtype, a.shape, a.stype, a.data) for key, a in record.items()})
    return deepcopy(record)


def _answers(reply: object, message: Message) -> bool:
    return isinstance(reply, Message) and reply.metadata.reply_to_message_id == message.metadata.message_id


def _misfit(reply: object) -> str:
    if isinstance(reply, Message):
        return "the ClientApp answered another message"
    return f"the ClientApp returned a {plain_text(type(reply).__name__)}, not a Message"


def _failed(message: Message, reason: str) -> Message:
    return Message(Error(code=_CLIENT_APP_RAISED, reason=reason), reply_to=message)


def _node_config(partition: int, clients: int, changes: Mapping[str, Scalar | None]) -> dict[str, Scalar]:
    config = {"partition-id": partition, "num-partitions": clients, **changes}
    return {key: value for key, value in config.items() if value is not None}


def _identify_process() -> None:
    """Flower stamps messages with the task of the process; outside its own processes nobody has set one."""
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
