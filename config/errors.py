"""The one error that bad input raises."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConfigError(ValueError):
    """A setting that can't be used; the message names the key, the value and what is allowed."""

    def __init__(self, key: str, value: object, allowed: str) -> None:
        self.key = key
        self.value = value
        self.allowed = allowed
        super().__init__(f"{key} = {value!r}: {allowed}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` did you mean 'x'?`` for the closest known name, or an empty string."""
    choices = list(known)
    close = difflib.get_close_matches(name, choices, n=1, cutoff=0.6)
    if not close:
        squeezed = {choice.replace("-", "").replace("_", ""): choice for choice in choices}
        close = [squeezed[key] for key in difflib.get_close_matches(name.replace("-", ""), list(squeezed), n=1)]
    return f"did you mean {close[0]!r}? " if close else ""
