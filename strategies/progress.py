"""How far a round is while it runs, in memory: for who watches it from another thread, at no cost to the run."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Progress:
    """The phase that runs and the messages that are out; one thread writes it, others only read."""

    round: int = 0
    phase: str = ""
    """Empty between rounds."""
    since: float = 0.0
    """When the phase began, seconds since 1970."""
    asked: tuple[int, ...] = ()
    """Partitions that messages are out to, or were in this phase."""
    answered: dict[int, float] = field(default_factory=dict)
    """Partition -> seconds from the messages' sending until its answer came, good or bad; in the order they came."""
    sent: float = 0.0
    """When the messages were sent, seconds since 1970."""
    timeout: float = 0.0
    """Seconds for which answers are waited for; 0: no message is out."""

    def begin(self, round: int, phase: str) -> None:
        """A phase begins; another one's messages are no longer looked for."""
        self.asked, self.answered, self.timeout = (), {}, 0.0
        self.round, self.phase, self.since = round, phase, time.time()

    def ask(self, partitions: Iterable[int], timeout: float) -> None:
        """Messages to these partitions go out."""
        self.answered, self.sent, self.timeout = {}, time.time(), timeout
        self.asked = tuple(partitions)

    def hear(self, partition: int) -> None:
        """An answer has come."""
        self.answered[partition] = time.time() - self.sent

    def end(self) -> None:
        """The round is over."""
        self.begin(self.round, "")
