"""Labels and ids as they stand in columns: text, whole numbers, true and false; numbered in one fixed order."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.learning.partition.base import Labels

UNLABELLED = -1
"""The number of a missing label."""
WHOLE_NUMBER = re.compile(r"[+-]?\d{1,18}")


def number_labels(
    splits: Mapping[str, Sequence[object]], key: str, value: str
) -> tuple[tuple[str, ...], dict[str, Labels]]:
    """Class names, and each split's labels int64 ``[n]`` by place of the name; ``UNLABELLED`` where there is none.

    The classes are all values of all splits: whole numbers (also written as text or as 3.0) by size, false before true,
    text, without blanks around it, by code points.  None, NaN, empty text and the number -1 are no label.

    Raises:
        ConfigError: naming ``key`` and ``value``, for lists, fractions, other types, or text mixed with numbers.
    """
    return _numbered(splits, key, value, {-1})


def class_numbers(entries: Sequence[object], feature: object, names: Sequence[str]) -> Labels:
    """A column's entries as places in ``names``, int64 ``[n]``; ``UNLABELLED`` for None, ``len(names)`` for strangers.

    Numbers are places already, unless the column's own ClassLabel ``feature`` has other names.
    """
    own = getattr(feature, "names", None) or names
    place = {name: number for number, name in enumerate(names)}
    stranger = len(names)

    def number(entry: object) -> int:
        if entry is None:
            return UNLABELLED
        if isinstance(entry, int) and (list(own) == list(names) or not 0 <= entry < len(own)):
            return entry
        return place.get(str(own[entry] if isinstance(entry, int) else entry), stranger)

    return np.array([number(entry) for entry in entries], dtype=np.int64)


def number_ids(ids: Sequence[object], key: str, value: str) -> tuple[tuple[str, ...], Labels]:
    """The distinct ids, and each entry's place among them, int64 ``[n]``. Raises ConfigError; none may be missing."""
    names, numbered = _numbered({"train": ids}, key, value, set())
    missing = int((numbered["train"] < 0).sum())
    if missing:
        raise ConfigError(key, value, f"{missing} of {len(ids)} training images have no id in this column")
    return names, numbered["train"]


def _numbered(
    splits: Mapping[str, Sequence[object]], key: str, value: str, missing: set[object]
) -> tuple[tuple[str, ...], dict[str, Labels]]:
    plain = {split: [_plain(entry, key, value) for entry in entries] for split, entries in splits.items()}
    found = {entry for entries in plain.values() for entry in entries if entry is not None}
    if all(isinstance(entry, str) and WHOLE_NUMBER.fullmatch(entry) for entry in found):
        of_text = {entry: int(str(entry)) for entry in found}
        missing = {entry for entry, number in of_text.items() if number in missing}
        ordered = sorted(found - missing, key=lambda entry: (of_text[entry], str(entry)))
    elif len({isinstance(entry, str) for entry in found}) > 1:
        raise ConfigError(key, value, "mixes text and numbers")
    else:
        ordered = sorted(found - missing)
    place: dict[object, int] = {entry: number for number, entry in enumerate(ordered)}
    numbered = {
        split: np.array([place.get(entry, UNLABELLED) for entry in entries], dtype=np.int64)
        for split, entries in plain.items()
    }
    return tuple(map(str, ordered)), numbered


def _plain(entry: object, key: str, value: str) -> str | int | bool | None:
    """One entry as text, whole number or truth value; None where there is none."""
    if isinstance(entry, np.generic):
        entry = entry.item()
    if isinstance(entry, str):
        return entry.strip() or None
    if entry is None or (isinstance(entry, float) and math.isnan(entry)):
        return None
    if isinstance(entry, int):
        return entry
    if isinstance(entry, float):
        if entry.is_integer():
            return int(entry)
        raise ConfigError(key, value, f"holds {entry!r}; allowed: text, whole numbers, true and false")
    if isinstance(entry, (list, tuple, np.ndarray)):
        raise ConfigError(key, value, "holds several values in one place; allowed: one label for each")
    shown = plain_text(entry, 40)
    raise ConfigError(
        key, value, f"holds {type(entry).__name__} ({shown}); allowed: text, whole numbers, true and false"
    )
