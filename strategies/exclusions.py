"""Which clients are left out of which rounds (``federation.excluded``): a site that an operator no longer trusts."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import FederationSection

KEY = "federation.excluded"
_ENTRY = re.compile(r"(\d{1,7})(?:@(\d{1,7})(?:-(\d{1,7}))?)?", re.ASCII)


@dataclass(frozen=True)
class Window:
    """The rounds that one partition is left out of."""

    first: int = 1
    last: int | None = None
    """None: all from the first on."""

    def __contains__(self, round: int) -> bool:
        return self.first <= round and (self.last is None or round <= self.last)


@dataclass(frozen=True)
class Exclusions:
    """Partition to the rounds that it is left out of."""

    windows: dict[int, Window]

    @classmethod
    def of(cls, settings: FederationSection) -> Exclusions:
        """What the settings list.

        Raises:
            ConfigError: an entry is no partition of this run, stands there twice, or its rounds aren't any.
        """
        return cls.parse(settings.excluded, settings.clients)

    @classmethod
    def parse(cls, text: str, clients: int) -> Exclusions:
        """``3``, ``3@12`` (from round 12 on), ``3@12-20``, by commas. Raises ConfigError."""
        found: dict[int, Window] = {}
        for entry in filter(None, (part.strip() for part in text.split(","))):
            match = _ENTRY.fullmatch(entry)
            if match is None or int(match[1]) >= clients:
                allowed = f"{entry!r} is no partition 0 to {clients - 1}, as 3, 3@12 (from round 12 on) or 3@12-20"
                raise ConfigError(KEY, text, allowed)
            partition, window = int(match[1]), Window(int(match[2] or 1), int(match[3]) if match[3] else None)
            if window.first < 1 or (window.last is not None and window.last < window.first):
                raise ConfigError(KEY, text, f"{entry!r} names no rounds; rounds are 1, 2, ..., first to last")
            if partition in found:
                raise ConfigError(KEY, text, f"partition {partition} is listed twice")
            found[partition] = window
        return cls(dict(sorted(found.items())))

    def at(self, round: int) -> frozenset[int]:
        """Partitions that take no part in a round."""
        return frozenset(partition for partition, window in self.windows.items() if round in window)

    def most(self, rounds: int) -> frozenset[int]:
        """Those left out of the round, of ``rounds``, that lacks the most; of equal ones the first."""
        starts = [window.first for window in self.windows.values() if window.first <= rounds]
        return max((self.at(first) for first in sorted(starts)), key=len, default=frozenset())

    def text(self) -> str:
        """The setting that says this."""
        return ", ".join(_entry(partition, window) for partition, window in self.windows.items())

    def continued(self, before: Exclusions, done: int) -> Exclusions:
        """These exclusions for a run of which ``done`` rounds happened under those of ``before``.

        What has happened stays as it was, so that the setting says of every round who was left out of it: a partition
        that is new on the list is left out from the next round on, one that is no longer on it was until now.
        """
        found = {p: window for p in self.windows if (window := self._ahead(p, before, done)) is not None}
        for partition, then in before.windows.items():
            if then.first <= done:
                found[partition] = self._under_way(partition, then, done)
        return Exclusions(dict(sorted(found.items())))

    def _ahead(self, partition: int, before: Exclusions, done: int) -> Window | None:
        """The rounds still to come that these exclusions name; None for none."""
        now = self.windows[partition]
        first = now.first if before.windows.get(partition) == now else max(now.first, done + 1)
        return None if now.last is not None and now.last < first else Window(first, now.last)

    def _under_way(self, partition: int, then: Window, done: int) -> Window:
        """The rounds that a partition is left out of where some of them have happened. Raises ConfigError."""
        now = self.windows.get(partition)
        until = done if then.last is None else min(then.last, done)
        ahead = None if now is None else Window(max(now.first, done + 1), now.last)
        if now == then:
            return then
        if ahead is None or (ahead.last is not None and ahead.last < ahead.first):
            return Window(then.first, until)
        if ahead.first > until + 1:
            allowed = f"partition {partition} was left out of rounds {then.first} to {until} already; one range each"
            raise ConfigError(KEY, self.text(), allowed)
        return Window(then.first, ahead.last)


def _entry(partition: int, window: Window) -> str:
    if window == Window():
        return str(partition)
    return f"{partition}@{window.first}" + ("" if window.last is None else f"-{window.last}")
