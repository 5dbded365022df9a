"""A run seen from outside, again and again, from its record folder alone: cheap where nothing has changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal, TypeVar

from fedcrucible_core.records import files
from fedcrucible_core.records.events import node_names
from fedcrucible_core.records.lock import has_writer
from fedcrucible_core.records.reader import parsed, read_rounds
from fedcrucible_core.records.schema import RoundRecord, RunDescription
from fedcrucible_core.records.status import RunningRound, RunStatus, replied

T = TypeVar("T")
Seen = Literal["starting", "running", "finished", "degraded", "failed", "interrupted", "killed"]
OVER: tuple[Seen, ...] = ("finished", "degraded", "failed", "interrupted", "killed")


@dataclass
class Site:
    """What a record says of one client."""

    client: int
    name: str = ""
    """What its node is registered as, or its key's fingerprint, or its node's id; empty where nodes are virtual."""
    asked: int = 0
    replied: int = 0
    rejected: int = 0
    dropped: int = 0
    absent: int = 0
    """Rounds in which no usable node of it was online."""
    last_heard: int | None = None
    """The last round in which a valid reply of it came."""
    ma_percent: float | None = None
    """What the model was worth to it, by its own word, when it last measured; None where it never did."""
    cause: str = ""
    """Why it gave no valid reply the last time that it gave none, and in which round."""


@dataclass(frozen=True)
class Glance:
    """How a run stands."""

    run: RunDescription
    rounds: Sequence[RoundRecord]
    state: Seen
    status: RunStatus | None = None
    """None in records of earlier versions."""
    sites: Sequence[Site] = ()
    now: float = field(default_factory=time.time)

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in OVER

    @property
    def running(self) -> RunningRound | None:
        """The round that runs now; None between rounds, and where nobody works on the run."""
        return None if self.over or self.status is None else self.status.now

    @property
    def age(self) -> float | None:
        """Seconds since the last round ended, or since the run began; None where nobody says."""
        if self.status is None:
            return None
        return max(0.0, self.now - (self.status.last_round or self.status.started))


class _Cached(Generic[T]):
    """What is read of a file, anew only where the file is another one."""

    def __init__(self, path: Path, reader: Callable[[Path], T], nothing: T) -> None:
        self.path = path
        self.reader = reader
        self.known = nothing
        self._stamp: tuple[int, int] | None = None

    def read(self) -> T:
        """What the file holds; where there is none what was read last."""
        try:
            found = self.path.stat()
        except OSError:
            return self.known
        stamp = (found.st_size, found.st_mtime_ns)
        if stamp != self._stamp:
            self.known, self._stamp = self.reader(self.path), stamp
        return self.known


class Watcher:
    """Looks at one record folder as often as it is asked to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rounds: _Cached[Sequence[RoundRecord]] = _Cached(folder / files.METRICS, read_rounds, [])
        self._names: _Cached[Mapping[int, str]] = _Cached(folder / files.EVENTS, node_names, {})

    def look(self) -> Glance | None:
        """The run as it stands; None while it has written nothing yet.

        Raises FileNotFoundError for a folder that is no record and that nobody writes to, DamagedRecordError for a
        damaged one.
        """
        writer = has_writer(self.folder)
        if not (self.folder / files.RUN).is_file():
            if writer:
                return None
            raise FileNotFoundError(f"{self.folder} is no run record: it has no {files.RUN}, and nobody writes to it")
        run = parsed(self.folder / files.RUN, RunDescription)
        status = self._status()
        rounds = self._rounds.read()
        state = self._state(writer, status, bool(rounds))
        return Glance(run, rounds, state, status, sites_of(rounds, self._names.read()))

    def _status(self) -> RunStatus | None:
        path = self.folder / files.STATUS
        return parsed(path, RunStatus) if path.is_file() else None

    def _state(self, writer: bool | None, status: RunStatus | None, begun: bool) -> Seen:
        """A run that somebody writes to goes on, whatever an earlier part of it left behind."""
        if writer:
            return "running" if begun and (status is None or status.state == "running") else "starting"
        if status is None:
            summary = self.folder / files.SUMMARY
            return "finished" if summary.is_file() else "killed"
        if writer is None or status.ended:
            return status.state
        again = self._status()  # it may have ended since
        return again.state if again is not None and again.ended else "killed"


def sites_of(rounds: Sequence[RoundRecord], names: Mapping[int, str] | None = None) -> list[Site]:
    """What rounds say of each client that was ever asked or should have been, those that lost most replies first."""
    found: dict[int, Site] = {}
    for record in rounds:
        valid = set(replied(record))
        for client in record.absent:
            site = found.setdefault(client, Site(client, (names or {}).get(client, "")))
            site.absent += 1
            site.cause = f"round {record.round}: no usable node was online"
        for client in record.participants:
            site = found.setdefault(client, Site(client, (names or {}).get(client, "")))
            site.asked += 1
            if client in valid:
                site.replied += 1
                site.last_heard = record.round
                site.rejected += client in record.rejected
            else:
                site.dropped += 1
                site.cause = f"round {record.round}: {record.dropped[str(client)]}"
        for key, said in record.client_metrics.items():
            if key.isdigit():
                site = found.setdefault(int(key), Site(int(key), (names or {}).get(int(key), "")))
                site.ma_percent = said.get("ma_percent")
    return sorted(found.values(), key=lambda site: (-site.dropped - site.absent, -site.rejected, site.client))
