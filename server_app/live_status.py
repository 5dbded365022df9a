"""Tells how a round goes while it runs: once a second at most, from a thread of its own, and only what is new."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from fedcrucible_core.records.status import RunningRound, late
from strategies.progress import Progress

EVERY_S = 1.0


class LiveStatus:
    """Looks at a run's progress and hands on what has changed, until it is stopped."""

    def __init__(self, progress: Progress, tell: Callable[[RunningRound], None]) -> None:
        self.progress = progress
        self.tell = tell
        self._told: RunningRound | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look; nothing where it has begun."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, name="status", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Look no more; when it returns nothing is told any longer."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(EVERY_S):
            now = running_round(self.progress, time.time())
            if now is not None and now != self._told:
                self.tell(now)
                self._told = now


def running_round(progress: Progress, now: float) -> RunningRound | None:
    """What a status says of a round that runs; None between rounds."""
    if not progress.phase:
        return None
    asked, answered = progress.asked, dict(progress.answered)  # one step each: the run goes on meanwhile
    waited = now - progress.sent
    return RunningRound(
        round=progress.round,
        phase=progress.phase,
        since=progress.since,
        asked=asked,
        answered={str(partition): round(seconds, 1) for partition, seconds in answered.items()},
        late=late(asked, answered, waited),
        deadline=progress.sent + progress.timeout if progress.timeout else None,
    )
