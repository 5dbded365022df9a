"""The one error that bad input raises."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from fedcrucible_core.config.plain_text import plain_repr, plain_text, visible_lines

LONGEST_VALUE = 120


class ConfigError(ValueError):
    """A setting that can't be used; the message names the key, the value and what is allowed."""

    def __init__(self, key: str, value: object, allowed: str) -> None:
        self.key = key
        self.value = value
        self.allowed = allowed
        super().__init__(f"{plain_text(key)} = {_shown(value)}: {visible_lines(allowed)}")

    def __reduce__(self) -> tuple[type[ConfigError], tuple[str, object, str]]:
        """So that it crosses process borders whole."""
        return type(self), (self.key, self.value, self.allowed)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'? `` for the closest known name, or an empty string."""
    choices = list(known)
    close = difflib.get_close_matches(name, choices, n=1, cutoff=0.6)
    if not close:
        squeezed = {_squeezed(choice): choice for choice in choices}
        close = [squeezed[key] for key in difflib.get_close_matches(_squeezed(name), list(squeezed), n=1)]
    return f"did you mean {close[0]!r}? " if close else ""


def _squeezed(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")


def _shown(value: object) -> str:
    return plain_repr(value, LONGEST_VALUE)
