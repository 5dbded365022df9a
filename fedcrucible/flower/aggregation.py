"""One aggregation: replies into updates, the rule, and arrays in the form in which they were sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from flwr.app import Array, ArrayRecord
from torch import Tensor

from defenses.base import Aggregate, AggregationRule
from defenses.updates import ClientUpdates, ServerView, State
from fedcrucible.flower.freed_memory import give_back
from fedcrucible.flower.layout import Columns, Entry, Layout
from fedcrucible.flower.on_disk import SMALL, DiskRoom
from fedcrucible.flower.uploads import MOST_TIMES_MEDIAN, Upload
from strategies.arrays import LARGEST, Values, packed, values_of
from strategies.buffers import Statistic, aggregate_buffers


@dataclass(frozen=True)
class Sent:
    """What the clients of a round were sent."""

    layout: Layout
    columns: Columns
    arrays: ArrayRecord
    round: int

    def vector(self) -> Tensor:
        """The learned entries as one vector ``[d]``, float32, or float64 where any of them is."""
        flat = torch.empty(self.columns.size, dtype=self.layout.precision)
        for slot in self.columns.slots:
            flat.numpy()[slot.start : slot.stop] = values_of(self.arrays[slot.name]).reshape(-1)
        return flat


@dataclass(frozen=True)
class Judgement:
    """What a rule made of a round."""

    result: Aggregate
    arrays: ArrayRecord


def judged(
    rule: AggregationRule,
    sent: Sent,
    uploads: Mapping[int, Upload],
    state: State,
    rng: torch.Generator,
    view: ServerView,
    statistic: Statistic = "mean",
    room: DiskRoom | None = None,
) -> Judgement:
    """What a rule makes of the uploads, by client number, ascending; each is released once it is read.

    ``view`` is what the server knows beside them; updates lie in ``room``, where there is one, else in memory.

    Raises:
        ValueError, ArithmeticError, RuntimeError: the rule can't work with these replies, or its aggregate can't be
            held in the types of the model.
    """
    if len(uploads) < rule.min_clients:
        raise ValueError(f"{rule.name} needs {rule.min_clients} clients, {len(uploads)} replied")
    w_t, beside = sent.vector(), _Beside.of(sent)
    result = rule.aggregate(
        ClientUpdates(
            w_t,
            _updates(sent, uploads, w_t, beside, room),  # held by nobody else: it is gone when the rule is done
            torch.tensor([upload.num_examples for upload in uploads.values()], dtype=torch.float64),
            list(uploads),
            sent.round,
            rng,
            state,
            view,
        )
    )
    return Judgement(result, beside.joined(w_t + result.delta.to(w_t), result.weights, statistic))


def _updates(sent: Sent, uploads: Mapping[int, Upload], w_t: Tensor, beside: _Beside, room: DiskRoom | None) -> Tensor:
    """The updates ``[n, d]``; each reply is released when it has its row, so that replies give way to the matrix."""
    n, d = len(uploads), w_t.numel()
    matrix = torch.empty(n, d, dtype=w_t.dtype) if room is None else room.matrix(n, d, w_t.dtype)
    for row, upload in zip(matrix, uploads.values(), strict=True):
        _fill(row.numpy(), upload.arrays, sent.columns, w_t.numpy())
        beside.take(upload.arrays)
        upload.release()
        if row.nbytes > SMALL:
            give_back()
    return matrix


def _fill(row: Values, arrays: ArrayRecord, columns: Columns, w_t: Values) -> None:
    """Write an update into ``row [d]``: what was replied minus what was sent."""
    for slot in columns.slots:
        part = slice(slot.start, slot.stop)
        np.subtract(values_of(arrays[slot.name]).reshape(-1), w_t[part], out=row[part], casting="same_kind")


@dataclass(frozen=True)
class _Beside:
    """What goes beside the vector: statistics, whole numbers and flags of every upload, in the order of uploads."""

    sent: Sent
    statistics: tuple[Entry, ...]
    exact: tuple[Entry, ...]
    taken: list[tuple[Tensor, dict[str, Values]]]

    @classmethod
    def of(cls, sent: Sent) -> _Beside:
        return cls(sent, sent.layout.of_part("statistic"), sent.layout.of_part("integer", "flag"), [])

    def take(self, arrays: ArrayRecord) -> None:
        """Keep what an upload says, in memory of its own."""
        exact = {entry.key: np.array(values_of(arrays[entry.key]), entry.dtype) for entry in self.exact}
        self.taken.append((self._statistics(arrays), exact))

    def joined(self, learned: Tensor, weights: Tensor, statistic: Statistic) -> ArrayRecord:
        """All arrays under their keys, in the order and form in which they were sent.

        Raises FloatingPointError where a type can't hold its numbers.
        """
        found: dict[str, Array] = {}
        by_key = self.sent.layout.by_key
        for slot in self.sent.columns.slots:
            found[slot.name] = _array(learned[slot.start : slot.stop], by_key[slot.name])
        found |= {key: found[of] for key, of in self.sent.columns.copies.items()}
        merged, start = self._merged(weights, statistic), 0
        for entry in self.statistics:
            found[entry.key] = _array(merged[start : start + entry.size], entry)
            start += entry.size
        for entry in self.exact:
            found[entry.key] = packed(self._exact(entry, weights), entry.dtype)
        return ArrayRecord({key: found[key] for key in self.sent.arrays})

    def _statistics(self, arrays: ArrayRecord) -> Tensor:
        flat = [values_of(arrays[entry.key]).reshape(-1) for entry in self.statistics]
        return torch.from_numpy(np.concatenate(flat, dtype=np.float64) if flat else np.zeros(0))

    def _merged(self, weights: Tensor, statistic: Statistic) -> Tensor:
        current = self._statistics(self.sent.arrays)
        return aggregate_buffers(current, torch.stack([of for of, _ in self.taken]), weights, (), statistic)

    def _exact(self, entry: Entry, weights: Tensor) -> Values:
        """Counters: the largest accepted; other whole numbers and flags: what most of the weight says, else they stay.

        No rule judges them, so that one client whose floats are accepted must not decide them.
        """
        current = values_of(self.sent.arrays[entry.key])
        accepted = [
            (float(weight), of[entry.key]) for weight, (_, of) in zip(weights, self.taken, strict=True) if weight > 0
        ]
        if not accepted:
            return current
        if entry.part == "integer" and not entry.shape:
            return _counted(current, [values for _, values in accepted])
        decided: Values = np.array(current)
        total = sum(weight for weight, _ in accepted)
        for _, candidate in accepted:  # whoever has more than half is among them, element by element
            support = sum(weight * (values == candidate) for weight, values in accepted)
            decided = np.where(support > total * (0.5 + 1e-9), candidate, decided)
        return decided


def _counted(current: Values, accepted: Sequence[Values]) -> Values:
    """The largest of the counts, but none that grew over ``MOST_TIMES_MEDIAN`` times the median growth."""
    grown = [int(values) - int(current) for values in accepted]
    bound = MOST_TIMES_MEDIAN * max(1, sorted(grown)[(len(grown) - 1) // 2])
    return np.array(int(current) + max(growth for growth in grown if growth <= bound), current.dtype)


def _array(values: Tensor, entry: Entry) -> Array:
    made = packed(values.numpy().reshape(entry.shape), entry.dtype)
    held = values_of(made)
    if held.size and not -LARGEST <= float(held.min()) <= float(held.max()) <= LARGEST:
        raise FloatingPointError(f"the aggregate of {entry.key!r} can't be held in {entry.dtype}")
    return made
