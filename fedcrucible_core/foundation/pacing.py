"""No more requests a minute than a service allows."""

from __future__ import annotations

import threading
import time


class Pace:
    """Spaces the starts of requests evenly; threads may share it."""

    def __init__(self, per_minute: float) -> None:
        self._step = 60.0 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Sleep until the next request may start."""
        if not self._step:
            return
        with self._lock:
            start = max(self._next, time.monotonic())
            self._next = start + self._step
        time.sleep(max(0.0, start - time.monotonic()))
