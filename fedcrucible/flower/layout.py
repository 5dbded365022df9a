"""What a record of arrays is made of: what a rule judges, and what goes beside it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from flwr.app import Array, ArrayRecord

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.learning.vector import Slot
from strategies.arrays import BFLOAT16, LARGEST, Kind, Values, kind_of, values_of

KEY = "initial_arrays"
"""What the user calls the record, in errors."""
VARIANCES = ("running_var", "moving_variance", "moving_var")
STATISTICS = ("running_mean", "moving_mean", *VARIANCES)
"""Last parts of the names that PyTorch and Keras give to the statistics of batch normalisation."""
_BEGIN = 4096
"""Bytes by which arrays are told apart before they are compared as a whole."""
Part = Literal["learned", "statistic", "integer", "flag"]


@dataclass(frozen=True)
class Entry:
    """One array of the record."""

    key: str
    shape: tuple[int, ...]
    dtype: str
    """numpy's name, or ``bfloat16``."""
    name: str
    """What it is called in the app's model; the key where nobody knows."""
    part: Part
    """learned: floats that rules judge; statistic: floats of batch normalisation; integer and flag: kept exact."""

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def kind(self) -> Kind:
        """Of which kind of type a reply's array must be."""
        if self.part == "learned" or self.part == "statistic":
            return "float"
        return self.part

    @property
    def is_variance(self) -> bool:
        """Whether no number in it may be negative."""
        return self.part == "statistic" and last_part(self.name) in VARIANCES

    def fault(self, values: Values) -> str:
        """What is wrong with floats of this entry, as a verb's phrase; empty for nothing."""
        if not values.size:
            return ""
        low, high = float(values.min()), float(values.max())  # both are NaN where any value is
        if not -LARGEST <= low <= high <= LARGEST:
            extreme = high if not high <= LARGEST else low
            said = "not finite" if not math.isfinite(extreme) else f"as large as {extreme:.3g}: squares overflow"
            return f"holds values that are {said}"
        if self.is_variance and low < 0:
            return f"is a running variance and negative ({low:.3g}); noise on statistics does that"
        return ""


@dataclass(frozen=True)
class Layout:
    """The arrays of a record, in its order; other orders hold the same layout."""

    entries: tuple[Entry, ...]

    @classmethod
    def of(
        cls, arrays: ArrayRecord, buffers: Sequence[str | int] = (), of_model: Mapping[str, str] | None = None
    ) -> Layout:
        """The layout of a record.

        Floats are statistics of batch normalisation where ``buffers`` (names, or positions in the record) says so,
        where a model has them as buffers (``of_model``: key -> name), or by the last part of their name; all others are
        learned.

        Raises:
            ConfigError: an array that can't be aggregated, or nothing that a rule could judge.
        """
        if not len(arrays):
            raise ConfigError(KEY, "no array", "the arrays of the model that is trained")
        names = of_model or {}
        chosen = _chosen(list(arrays), buffers) | set(names)
        found = cls(tuple(_entry(key, names.get(key, key), array, chosen) for key, array in arrays.items()))
        if not any(entry.size for entry in found.learned):
            raise ConfigError(KEY, _keys(arrays), "at least one float that clients train; a rule judges nothing else")
        return found

    def of_part(self, *parts: Part) -> tuple[Entry, ...]:
        """Entries of some parts, in order."""
        return tuple(entry for entry in self.entries if entry.part in parts)

    @cached_property
    def learned(self) -> tuple[Entry, ...]:
        """What rules judge."""
        return self.of_part("learned")

    @cached_property
    def by_key(self) -> Mapping[str, Entry]:
        """Entries by their keys."""
        return {entry.key: entry for entry in self.entries}

    @property
    def precision(self) -> torch.dtype:
        """What updates are computed in: float64 where any learned entry is, else float32."""
        return (
            torch.float64 if any(entry.dtype.endswith(("float64", "f8")) for entry in self.learned) else torch.float32
        )

    def fits(self, other: Layout) -> bool:
        """Whether both hold the same entries, in whatever order."""
        return self.by_key == other.by_key


@dataclass(frozen=True)
class Columns:
    """Where learned entries lie in the vector that a rule sees; an entry that is a copy of another has no place."""

    slots: tuple[Slot, ...]
    copies: Mapping[str, str]
    """Key of a tied entry -> key of the one that stands for it."""

    @classmethod
    def of(cls, entries: Sequence[Entry], copies: Mapping[str, str]) -> Columns:
        """The columns of learned entries, without those of ``copies``."""
        slots, start = [], 0
        for entry in entries:
            if entry.key not in copies:
                slots.append(Slot(entry.key, start, torch.Size(entry.shape), False))
                start += entry.size
        return cls(tuple(slots), dict(copies))

    @property
    def size(self) -> int:
        """d, the length of the vector."""
        return self.slots[-1].stop if self.slots else 0


def tied(layout: Layout, sent: ArrayRecord, uploads: Sequence[ArrayRecord]) -> dict[str, str]:
    """Learned entries that are sent twice: key -> key of the first.

    They are equal in what was sent, bit for bit, and more than half of the replies have moved them and hold them equal:
    tied weights stay equal while clients train; layers that only began equal don't, and of frozen ones nobody knows.
    """
    found: dict[str, str] = {}
    alike: dict[bytes, list[str]] = {}
    for entry in layout.learned:
        begin = sent[entry.key].data[:_BEGIN]  # of other shapes and types headers differ
        earlier = [key for key in alike.get(begin, ()) if entry.size and _equal(sent, entry.key, key)]
        for key in earlier:
            if 2 * sum(_equal(a, entry.key, key) and a[key].data != sent[key].data for a in uploads) > len(uploads):
                found[entry.key] = key
                break
        else:
            alike.setdefault(begin, []).append(entry.key)
    return found


def output_layer(slots: Sequence[Slot]) -> tuple[tuple[Slot, ...], str]:
    """The slots with names by which rules find the layer that makes the logits, and that layer's name.

    It is the last weight ``[C, D]`` that a bias ``[C]`` follows: under one name in PyTorch, numbered in lists of numpy
    arrays; empty where there is none.
    """
    for at in range(len(slots) - 1, 0, -1):
        weight, bias = slots[at - 1], slots[at]
        if len(weight.shape) != 2 or tuple(bias.shape) != (weight.shape[0],):
            continue
        stem, _, last = weight.name.rpartition(".")
        if stem and (last, bias.name) == ("weight", f"{stem}.bias"):
            return tuple(slots), stem
        named = (replace(weight, name="output.weight"), replace(bias, name="output.bias"))
        return (*slots[: at - 1], *named, *slots[at + 1 :]), "output"
    return tuple(slots), ""


def last_part(key: str) -> str:
    """``running_var`` of ``layer1.bn.running_var``, ``moving_mean`` of ``bn/moving_mean:0``."""
    return key.replace("/", ".").rpartition(".")[2].partition(":")[0]


def _equal(arrays: ArrayRecord, one: str, other: str) -> bool:
    return arrays[one].data == arrays[other].data  # headers included: shape and type


def _entry(key: str, name: str, array: Array, chosen: Collection[str]) -> Entry:
    try:
        kind = kind_of(array.dtype)
        values = values_of(array)
    except ValueError as error:
        raise ConfigError(KEY, key, str(error)) from None
    if kind != "float":
        return Entry(key, values.shape, array.dtype, name, kind)
    statistic = key in chosen or last_part(key) in STATISTICS
    dtype = BFLOAT16 if array.dtype == BFLOAT16 else str(np.dtype(array.dtype))
    found = Entry(key, values.shape, dtype, name, "statistic" if statistic else "learned")
    fault = found.fault(values)
    if fault:
        raise ConfigError(KEY, key, f"{fault}; no reply may hold such either: begin with a model without it")
    return found


def _chosen(keys: Sequence[str], buffers: Sequence[str | int]) -> set[str]:
    found = set()
    for given in buffers:
        if isinstance(given, int) and not isinstance(given, bool) and 0 <= given < len(keys):
            found.add(keys[given])
        elif given in keys:
            found.add(str(given))
        else:
            raise ConfigError(
                "buffers", given, f"names of arrays, or positions from 0 to {len(keys) - 1}: {_keys(keys)}"
            )
    return found


def _keys(keys: Collection[str]) -> str:
    shown = ", ".join(plain_text(key, 40) for key in list(keys)[:6])
    return f"{shown}, ..." if len(keys) > 6 else shown
