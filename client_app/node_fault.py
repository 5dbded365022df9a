"""What a node does wrong on purpose, in a rehearsal: switched on at the node itself, by no setting of a run."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict

from client_app.rehearsal import SWITCH
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.component import Component
from fedcrucible_core.config.registry import Registry
from strategies.messages import MODEL, PARAMETERS, ROUND, whole
from strategies.records import record_in

Content = dict[str, ArrayRecord | MetricRecord | ConfigRecord]


@dataclass(frozen=True)
class Moment:
    """One training message on a node that misbehaves; ``honest`` does the work as any other node does it."""

    message: Message
    context: Context
    honest: Callable[[], Message]

    @property
    def round(self) -> int:
        """The round that is asked for."""
        return whole(record_in(self.message.content, ROUND, ConfigRecord)["round"])

    def work(self) -> Content:
        """The honest reply's records, which may be changed."""
        return {key: type(record)(dict(record)) for key, record in self.honest().content.items()}  # type: ignore[arg-type]

    def reply(self, content: Mapping[str, ArrayRecord | MetricRecord | ConfigRecord]) -> Message:
        """A reply of these records."""
        return Message(RecordDict(dict(content)), reply_to=self.message)


class NodeFault(Component):
    """One kind of misbehaviour; registered by the name that stands before the ``@``."""

    @abstractmethod
    def answer(self, moment: Moment) -> Message:
        """What the node sends in the round of the fault, if anything."""

    keeps: ClassVar[bool] = False
    """Whether it needs something of the rounds before its own."""

    def before(self, moment: Moment) -> Message:
        """What it sends in rounds before that: honest work."""
        return moment.honest()


NODE_FAULTS: Registry[NodeFault] = Registry("rehearsal", "client_app.node_faults", key=f"node-config {SWITCH}")


def with_parameters(content: Content, array: Array) -> Content:
    """Records with another parameter vector."""
    model = content[MODEL]
    return {**content, MODEL: ArrayRecord({**dict(model), PARAMETERS: array})}


def planned(value: object) -> dict[int, NodeFault]:
    """The faults of a node by round. Raises ConfigError for a text that isn't ``fault@round,fault@round``."""
    found: dict[int, NodeFault] = {}
    for word in str(value).split(","):
        kind, _, number = word.strip().partition("@")
        fault = NODE_FAULTS.create(kind)
        if not number.isdecimal():
            raise ConfigError(NODE_FAULTS.key, word, "fault@round, e.g. nan@4")
        found[int(number)] = fault
    return found


def misbehave(value: object, message: Message, context: Context, honest: Callable[[], Message]) -> Message:
    """A training message's answer on a node whose configuration says ``rehearsal=value``."""
    faults, moment = planned(value), Moment(message, context, honest)
    now = faults.get(moment.round)
    if now is not None:
        return now.answer(moment)
    keeper = next((fault for when, fault in faults.items() if fault.keeps and when > moment.round), None)
    return honest() if keeper is None else keeper.before(moment)
