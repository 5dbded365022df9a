"""What the server accepts of a client: one place that checks a reply, completely, before anything is done with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from logging import WARNING
from typing import TypeVar

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.common.logger import log
from torch import Tensor, nn

from fedcrucible_core.config.json_log import TOLD
from fedcrucible_core.config.plain_text import error_text, plain_repr, plain_text, uncoloured
from fedcrucible_core.learning.vector import Slot, buffer_slots
from fedcrucible_core.learning.weights import Weights
from strategies.arrays import values_of
from strategies.messages import ATTACKED, BUFFERS, CLIENT, METRICS, MODEL, PARAMETERS
from strategies.payloads import FLOAT32, Payload
from strategies.records import record_in
from strategies.sanitizer_facts import told

T = TypeVar("T")

MAX_CAUSE = 300
"""Characters of a cause that are kept: a client may choose its text, and its length."""
LONGEST_READ = 20_000
"""Characters of it that are looked at."""


class InvalidReplyError(ValueError):
    """A reply that can't be used; the text is the cause that is counted and shown, made plain here for all of them."""

    def __init__(self, cause: str) -> None:
        super().__init__(plain_text(cause, MAX_CAUSE))


@dataclass(frozen=True)
class Layout:
    """What an upload must look like: the model that was sent, where its buffers lie, examples that may be claimed."""

    sent: Weights
    buffers: tuple[Slot, ...]
    max_examples: int
    round: int | None = None
    """The round that is asked for; None: whatever round a reply names."""
    payload: Payload = FLOAT32

    @classmethod
    def of(
        cls,
        model: nn.Module,
        sent: Weights,
        max_examples: int,
        round: int | None = None,
        payload: Payload = FLOAT32,
    ) -> Layout:
        """The layout of uploads that answer ``sent``, weights of ``model``."""
        return cls(sent, buffer_slots(model), max_examples, round, payload)

    @cached_property
    def received(self) -> Weights:
        """What clients made of ``sent``."""
        return self.payload.received(self.sent)


@dataclass(frozen=True)
class Reply:
    """A valid reply of one client."""

    partition: int
    weights: Weights
    num_examples: int
    loss: float
    seconds: float
    rested: bool = False
    """A malicious client's word that its attack found nothing to do this round; for detection figures alone."""
    sanitized: Mapping[str, float] = field(default_factory=dict)
    """What it says that its sanitizer did to its data; for the record alone."""


def read_reply(message: Message | Exception | None, partition: int, layout: Layout) -> Reply:
    """Check one reply: error, records, round, keys, types, shapes, finite values, variances, claimed examples.

    Raises InvalidReplyError; whatever a client sends, nothing else escapes.
    """
    return received(message, lambda content: _read(content, partition, layout))


def _read(content: RecordDict, partition: int, layout: Layout) -> Reply:
    check_records(content, partition, {MODEL: ArrayRecord, METRICS: MetricRecord, CLIENT: ConfigRecord})
    answered = record_in(content, CLIENT, ConfigRecord).get("round", layout.round)
    if layout.round is not None and answered != layout.round:  # a cache or a recording; who lies is judged by the rule
        raise InvalidReplyError(f"answers round {plain_repr(answered)}, asked was round {layout.round}")
    metrics = record_in(content, METRICS, MetricRecord)
    examples = claimed_examples(metrics, layout.max_examples)
    arrays = record_in(content, MODEL, ArrayRecord)
    check_arrays(arrays, (BUFFERS, PARAMETERS))
    uploaded = vector(arrays[PARAMETERS], PARAMETERS, layout.sent.parameters.numel(), layout.payload.up)
    weights = Weights(
        layout.payload.read(uploaded, layout.sent, layout.received),
        vector(arrays[BUFFERS], BUFFERS, layout.sent.buffers.numel()),
    )
    if not bool(torch.isfinite(weights.parameters - layout.sent.parameters).all()):
        raise InvalidReplyError("the update overflows float32")
    if not variances_valid(weights.buffers, layout.buffers):
        raise InvalidReplyError("a running variance is negative")
    return Reply(
        partition=partition,
        weights=weights,
        num_examples=examples,
        loss=number(metrics.get("train-loss")),
        seconds=number(metrics.get("seconds")),
        rested=number(metrics.get(ATTACKED)) == 0.0,
        sanitized=told(metrics, layout.max_examples),
    )


def variances_valid(buffers: Tensor, slots: Sequence[Slot]) -> bool:
    """Whether no running variance among buffers ``[b]`` is negative."""
    return all(bool((buffers[s.start : s.stop] >= 0).all()) for s in slots if s.name.endswith("running_var"))


def read_all(
    answers: Sequence[tuple[int, Message | Exception | None]],
    read: Callable[[Message | Exception | None, int], T],
    round: int,
) -> tuple[dict[int, T], dict[int, str]]:
    """What ``read`` makes of each valid answer by partition, in the order given; and of the others the cause."""
    valid: dict[int, T] = {}
    dropped: dict[int, str] = {}
    for partition, answer in answers:
        try:
            valid[partition] = read(answer, partition)
        except InvalidReplyError as cause:
            dropped[partition] = str(cause)
            log(WARNING, "round %d: reply of client %d dropped: %s", round, partition, cause, extra={TOLD: True})
    return valid, dropped


# --- the pieces that every kind of answer is checked with -------------------------------------------------------------


def received(message: Message | Exception | None, read: Callable[[RecordDict], T]) -> T:
    """What ``read`` makes of a message's content. Raises InvalidReplyError for all that may go wrong on the way."""
    if message is None:
        raise InvalidReplyError("no reply in time")
    if isinstance(message, Exception):
        raise InvalidReplyError(f"could not be fetched: {error_text(message)}")
    try:
        if message.has_error():
            raise InvalidReplyError(f"error {plain_text(message.error.code, 20)}: {_said(message.error.reason)}")
        return read(message.content)
    except (InvalidReplyError, KeyboardInterrupt):
        raise
    except BaseException as error:  # in one process a reply's own code may run here
        raise InvalidReplyError(f"unreadable: {error_text(error)}") from None


def _said(reason: object) -> str:
    """What went wrong in one line, without colours: of a traceback what stands below its last frame."""
    text = reason if type(reason) is str else plain_text(reason)
    traced = "Traceback" in text
    text = uncoloured(text[-LONGEST_READ:] if traced else text[:LONGEST_READ])
    lines = [line for line in text.splitlines() if line.strip()]
    frames = [i for i, line in enumerate(lines[:-1], 1) if line[0].isspace()] if traced else []
    return plain_text("\n".join(lines[frames[-1] if frames else 0 :]), MAX_CAUSE - 20)  # the code goes before it


def check_records(content: RecordDict, partition: int, kinds: dict[str, type]) -> None:
    """The records of a reply are those of ``kinds``, no more, and its partition is the node's."""
    for key, kind in kinds.items():
        if key not in content:
            raise InvalidReplyError(f"record {key!r} is missing")
        if not isinstance(content[key], kind):
            raise InvalidReplyError(f"record {key!r} is a {type(content[key]).__name__}, not a {kind.__name__}")
    unexpected = sorted(set(content) - set(kinds))
    if unexpected:
        raise InvalidReplyError(f"unexpected records {_keys(unexpected)}")
    claimed = record_in(content, CLIENT, ConfigRecord).get("partition-id")
    if claimed != partition:
        raise InvalidReplyError(f"claims to be partition {plain_repr(claimed)}, but its node holds {partition}")


def check_arrays(arrays: ArrayRecord, names: tuple[str, ...]) -> None:
    """A record of arrays holds those of ``names``, no more."""
    if sorted(arrays) != sorted(names):
        raise InvalidReplyError(f"arrays {_keys(arrays)}, expected {sorted(names)}")


def _keys(names: Iterable[str]) -> str:
    """The first names of a record that a client made, each cut short."""
    return f"[{', '.join(plain_repr(name, 20) for name in sorted(names)[:6])}]"


def claimed_examples(metrics: MetricRecord, most: int) -> int:
    """The number of examples that a reply claims, 1 to ``most``."""
    examples = metrics.get("num-examples")
    if not isinstance(examples, int) or isinstance(examples, bool):
        raise InvalidReplyError(f"num-examples is {plain_repr(examples)}, not a whole number")
    if not 1 <= examples <= most:
        claimed = plain_repr(examples)
        raise InvalidReplyError(f"claims {claimed} examples, allowed 1 to {most} (federation.max_examples)")
    return examples


def vector(array: Array, name: str, length: int, dtype: str = "float32") -> Tensor:
    """An array of a reply as a new tensor ``[length]`` of finite values."""
    if array.dtype != dtype:
        raise InvalidReplyError(f"{name} are {plain_text(array.dtype, 60)}, not {dtype}")
    if tuple(array.shape) != (length,):
        raise InvalidReplyError(f"{name} have shape {plain_repr(tuple(array.shape))}, expected ({length},)")
    try:
        values = values_of(array)
    except ValueError as error:
        raise InvalidReplyError(f"unreadable: array {name!r} {error}") from None
    if not np.isfinite(values).all():
        raise InvalidReplyError(f"{name} hold {int((~np.isfinite(values)).sum())} values that are not finite")
    return torch.tensor(values)


def number(value: object) -> float:
    """A number of a reply; NaN for anything else."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else float("nan")
