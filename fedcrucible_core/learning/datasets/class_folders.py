"""Names of folders and labels to names of classes: exactly where they agree, by one folding where they don't."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from typing import TypeVar

from fedcrucible_core.config import ConfigError

PUNCTUATION = frozenset("/\\.,:;|'\"")
"""What stands between words besides spaces, dashes, underscores and brackets; ``+`` and ``#`` are part of a name."""
BETWEEN = frozenset({"Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Zs", "Zl", "Zp", "Cc"})
"""Unicode categories of the same."""
V = TypeVar("V")
NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")


def folded(name: str) -> str:
    """What two spellings of one name have in common: no case, no compatibility forms, any separators as one space.

    Letters of every script count, and so do marks and symbols: ``猫`` is not ``狗``, ``C`` is neither ``C++`` nor
    ``C#``.  Numbers and names of separators alone stay as they are.

    >>> folded("T-shirt/top"), folded("t_shirt top"), folded("C++"), folded("-1")
    ('t shirt top', 't shirt top', 'c++', '-1')
    """
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).strip()
    if NUMBER.fullmatch(plain):
        return plain
    words = "".join(" " if c in PUNCTUATION or unicodedata.category(c) in BETWEEN else c for c in plain).split()
    return " ".join(words) or plain


def spelled(name: str) -> str:
    """The same characters in one encoding: file systems differ in how they store an accent."""
    return unicodedata.normalize("NFC", name)


def match_names(wanted: Sequence[str], found: Sequence[str], key: str, value: object) -> list[str | None]:
    """For each class of ``wanted`` the one of ``found`` (folders, labels) that is meant; None where there is none.

    A name that agrees exactly is taken first, and nobody else gets it; the rest is matched by :func:`folded`.

    Raises:
        ConfigError: on ``key = value``, naming them, where several of ``found`` are meant by one class or one of
            them by several classes.
    """
    matched: list[str | None] = [None] * len(wanted)
    for same in (str, spelled, folded):
        taken = set(matched)
        candidates = _grouped([(same(name), name) for name in found if name not in taken])
        open_classes = _grouped([(same(name), i) for i, name in enumerate(wanted) if matched[i] is None])
        for spelling, classes in open_classes.items():
            names = candidates.get(spelling, [])
            if not names:
                continue
            if len(names) > 1 or len(classes) > 1:
                raise _ambiguous([wanted[i] for i in classes], names, key, value)
            matched[classes[0]] = names[0]
    return matched


def refuse_look_alikes(names: Sequence[str], what: str, key: str, value: object) -> None:
    """Raise ConfigError, naming them, where two of ``names`` differ in case, spelling or separators only."""
    for alike in _grouped([(folded(name), name) for name in dict.fromkeys(names)]).values():
        if len(alike) > 1:
            listed = " and ".join(repr(name) for name in alike)
            raise ConfigError(key, value, f"{what} {listed} differ only in case, spelling or separators: use one name")


def _grouped(pairs: Sequence[tuple[str, V]]) -> dict[str, list[V]]:
    groups: dict[str, list[V]] = defaultdict(list)
    for key, item in pairs:
        groups[key].append(item)
    return groups


def _ambiguous(classes: Sequence[str], names: Sequence[str], key: str, value: object) -> ConfigError:
    listed, meant = (" and ".join(repr(name) for name in some) for some in (sorted(names), classes))
    allowed = f"{listed} can each be meant by {meant}; use the exact names, one for each class"
    return ConfigError(key, value, allowed)
