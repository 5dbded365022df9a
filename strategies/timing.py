"""Wall-clock seconds of a round by phase."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from strategies.outcome import RoundOutcome


@contextmanager
def timed(outcome: RoundOutcome, phase: str) -> Iterator[None]:
    """Add the time that a block takes to a phase of a round, and say that the phase begins."""
    outcome.progress.begin(outcome.round, phase)
    start = time.perf_counter()
    try:
        yield
    finally:
        outcome.seconds[phase] = outcome.seconds.get(phase, 0.0) + time.perf_counter() - start
