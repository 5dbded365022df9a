"""Keys of earlier versions: old presets, command lines and records still load, and say so in one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fedcrucible_core.config.values import Scalar

RENAMED: Mapping[str, str] = {}
"""Old key -> the key that stands for it now, with the same values."""

REWRITTEN: tuple[Callable[[dict[str, Scalar]], Mapping[str, str]], ...] = ()
"""What no plain renaming can do: each changes a copy of the settings in place and returns old -> new in words."""


class OldKeyWarning(FutureWarning):
    """Settings were given under keys of an earlier version."""


def modern(settings: Mapping[str, Scalar]) -> tuple[dict[str, Scalar], Mapping[str, str]]:
    """Settings under today's keys, and which old ones were among them (old -> new, for a message).

    A key that is given under both names keeps the value of the new one.
    """
    found = dict(settings)
    used: dict[str, str] = {}
    for old, new in RENAMED.items():
        if old in found:
            value = found.pop(old)
            found.setdefault(new, value)
            used[old] = new
    for rewrite in REWRITTEN:
        used |= rewrite(found)
    return found, used


def deprecation(used: Mapping[str, str]) -> str:
    """One line about old keys; empty when there was none."""
    if not used:
        return ""
    return f"keys of an earlier version: {', '.join(f'{old} is now {new}' for old, new in used.items())}"
