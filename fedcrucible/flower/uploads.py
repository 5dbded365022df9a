"""What is accepted of a client that isn't ours: its reply is checked completely before a rule sees any of it."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from logging import WARNING

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.common.logger import log

from fedcrucible.flower.layout import Entry, Layout
from fedcrucible_core.config.json_log import TOLD
from fedcrucible_core.config.plain_text import plain_repr
from strategies.arrays import Values, kind_of, values_of
from strategies.outcome import RoundOutcome
from strategies.records import R, records_of
from strategies.replies import InvalidReplyError, read_all, received

MOST_TIMES_MEDIAN = 1000.0
"""A claim of more examples than this many times the round's median is dropped, where nothing else is configured."""
Kinds = frozenset[tuple[str, int]]
"""Metrics of a reply: key, and length of a list; -1 = one number."""
EXACT = 2.0**53
"""No claim is larger: the largest whole number up to which float64 holds all."""


@dataclass(frozen=True)
class Upload:
    """A valid reply, by its content; its arrays share the message's memory until they are released."""

    content: RecordDict
    num_examples: float

    @property
    def arrays(self) -> ArrayRecord:
        """Its arrays."""
        return next(iter(records_of(self.content, ArrayRecord).values()))

    @property
    def metrics(self) -> MetricRecord:
        """Its metrics."""
        return next(iter(records_of(self.content, MetricRecord).values()))

    def release(self) -> None:
        """Forget the arrays: those of a round take n times the model's memory."""
        for key in records_of(self.content, ArrayRecord):
            del self.content[key]


def read_upload(message: Message | Exception | None, layout: Layout, weight_key: str, most: float) -> Upload:
    """Check a reply to a training message: records, keys, types, shapes, values, claimed examples (at most ``most``).

    Raises InvalidReplyError; whatever a client sends, nothing else escapes.
    """
    return received(message, lambda content: _read(content, layout, weight_key, most))


def read_metrics(message: Message | Exception | None, weight_key: str, most: float) -> RecordDict:
    """Check a reply to an evaluate message: one record of metrics with a weight. Raises InvalidReplyError alone."""

    def read(content: RecordDict) -> RecordDict:
        _weight(_only(content, MetricRecord), weight_key, most)
        return content

    return received(message, read)


def _read(content: RecordDict, layout: Layout, weight_key: str, most: float) -> Upload:
    arrays = _only(content, ArrayRecord)
    metrics = _only(content, MetricRecord)
    weight = _weight(metrics, weight_key, most)
    _check_keys(arrays, layout)
    for entry in layout.entries:
        try:
            check_array(arrays[entry.key], entry)
        except ValueError as error:
            raise InvalidReplyError(f"array {plain_repr(entry.key, 80)} {error}") from None
    return Upload(content, weight)


def check_array(array: Array, entry: Entry) -> Values:
    """The values of an array that answers an entry. Raises ValueError with what is wrong with them."""
    values = values_of(array)
    if values.shape != entry.shape:  # numpy would broadcast (1,) into (2,)
        raise ValueError(f"has shape {plain_repr(values.shape)}, sent was {entry.shape}")
    kind = kind_of(array.dtype)
    if kind != entry.kind:
        raise ValueError(f"is {array.dtype}, sent was {entry.dtype}")
    if not values.size or kind == "flag":
        return values
    if kind == "integer":
        held = np.iinfo(np.dtype(entry.dtype))
        if not held.min <= int(values.min()) <= int(values.max()) <= held.max:
            raise ValueError(f"holds whole numbers that {entry.dtype} can't")
        return values
    fault = entry.fault(values)
    if fault:
        raise ValueError(fault)
    return values


def accepted(
    answers: Sequence[tuple[int, Message | Exception | None]],
    layout: Layout,
    weight_key: str,
    limit: float,
    outcome: RoundOutcome,
) -> tuple[dict[int, Upload], dict[int, Upload]]:
    """Uploads by client, ascending, that the rule may see, and all that are well-formed by themselves.

    Why the others were dropped goes to ``outcome``; ``limit`` is the most examples that may be claimed, 0 = by the
    round's median.
    """
    most = limit or EXACT
    valid, dropped = read_all(answers, lambda reply, _: read_upload(reply, layout, weight_key, most), outcome.round)
    kept, outliers = _without_outliers(valid, limit)
    for client, cause in outliers.items():
        log(WARNING, "round %d: reply of client %d dropped: %s", outcome.round, client, cause, extra={TOLD: True})
    outcome.valid, outcome.dropped = list(kept), dict(sorted({**dropped, **outliers}.items()))
    outcome.bytes_up = sum(size_of(upload.arrays) for upload in kept.values())
    return kept, valid


def size_of(arrays: ArrayRecord) -> int:
    """Bytes of a record."""
    return sum(len(array.data) for array in arrays.values())


def _without_outliers(uploads: Mapping[int, Upload], limit: float) -> tuple[dict[int, Upload], dict[int, str]]:
    """The uploads whose claims and metrics fit those of the others, and of the rest the cause.

    Claims of more examples than ``MOST_TIMES_MEDIAN`` times the median are dropped, unless a ``limit`` was checked
    already (not 0); so are metrics under other keys than those of more than half of the replies.
    """
    dropped = {} if limit else excessive({client: upload.num_examples for client, upload in uploads.items()})
    usual, odd = usual_metrics({client: upload.content for client, upload in uploads.items() if client not in dropped})
    return {client: uploads[client] for client in usual}, {**dropped, **odd}


def excessive(claims: Mapping[int, float]) -> dict[int, str]:
    """Claims of more than ``MOST_TIMES_MEDIAN`` times the median, by client, as the cause; none of fewer than three."""
    if len(claims) < 3:
        return {}
    bound = MOST_TIMES_MEDIAN * sorted(claims.values())[(len(claims) - 1) // 2]
    return {
        client: f"claims {claimed:g} examples, over {MOST_TIMES_MEDIAN:g} times the round's median"
        for client, claimed in claims.items()
        if claimed > bound
    }


def usual_metrics(contents: Mapping[int, RecordDict]) -> tuple[dict[int, RecordDict], dict[int, str]]:
    """The contents with such metrics as more than half of them hold, and of the others the cause.

    One number or a list under a key are two kinds.  Where nothing is so usual all stay.
    """
    kinds = {client: _kinds(_only(content, MetricRecord)) for client, content in contents.items()}
    usual, count = Counter(kinds.values()).most_common(1)[0] if kinds else (frozenset[tuple[str, int]](), 0)
    if 2 * count <= len(kinds):
        return dict(contents), {}
    odd = {client: _difference(own, usual) for client, own in kinds.items() if own != usual}
    return {client: content for client, content in contents.items() if client not in odd}, odd


def _kinds(metrics: MetricRecord) -> Kinds:
    return frozenset((key, len(value) if isinstance(value, list) else -1) for key, value in metrics.items())


def _difference(own: Kinds, usual: Kinds) -> str:
    """Why metrics are those of no other client."""

    def named(kinds: Kinds) -> str:
        return ", ".join(
            plain_repr(key, 40) + ("" if length < 0 else f" (list of {length})")
            for key, length in heapq.nsmallest(3, kinds)
        )

    more, fewer = own - usual, usual - own
    parts = [f"{named(more)} that no majority sends"] if more else []
    parts += [f"no {named(fewer)}"] if fewer else []
    return f"its metrics have {' and '.join(parts)}"


def _only(content: RecordDict, kind: type[R]) -> R:
    records = records_of(content, kind)
    if len(records) != 1:
        raise InvalidReplyError(f"holds {len(records)} records of type {kind.__name__}, expected is one")
    return next(iter(records.values()))


def _weight(metrics: MetricRecord, key: str, most: float) -> float:
    value = metrics.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidReplyError(f"{key} is {plain_repr(value)}, not a number")
    if not 0 < value <= most:
        raise InvalidReplyError(f"claims {key} = {plain_repr(value)}, allowed is more than 0 and at most {most:g}")
    return float(value)


def _check_keys(arrays: ArrayRecord, layout: Layout) -> None:
    missing = [entry.key for entry in layout.entries if entry.key not in arrays]
    extra = [key for key in arrays if key not in layout.by_key]
    for what, keys in (("misses", missing), ("has unexpected", extra)):
        if keys:
            shown = ", ".join(plain_repr(key, 40) for key in keys[:3]) + (", ..." if len(keys) > 3 else "")
            raise InvalidReplyError(f"{what} {len(keys)} arrays: {shown}")
