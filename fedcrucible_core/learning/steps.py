"""How long work within a round tells how far it is; whoever does it need not know who listens."""

from __future__ import annotations

from collections.abc import Callable

Told = Callable[[str, int, int], None]
"""What is done, how many parts of it are, and of how many."""


def nobody(what: str, done: int, total: int) -> None:
    """Tells nobody."""
