"""One row of a comparison: a system's runs over seeds, and what may be said of their numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fedcrucible_core.records.findings import attack_rounds, attacked
from fedcrucible_core.records.reader import RecordedRun
from fedcrucible_core.reports.statistics.measures import measured
from fedcrucible_core.reports.statistics.printed import Printed
from fedcrucible_core.reports.statistics.spread import Spread, spread

UNSOUND = ("dead", "unchanged", "alone")
"""States of a run whose numbers are listed and never compared; see ``RunSummary.state``."""
WORDS = {"alone": "no clients"}
"""How a reader is told, where the state's name doesn't say it."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A system in one spot: runs that differ in their seed only; none where they are still missing."""

    label: str
    """What the reader calls it: mostly the system's name. No two rows of a spot share it."""
    runs: tuple[RecordedRun, ...]
    paper: tuple[Printed, ...] = ()
    """What a paper prints of it."""

    def spread_of(self, column: str) -> Spread | None:
        """Mean and spread over all runs that have this number (see ``MEASURES``); None when none has it."""
        return spread([value for run in self.runs if (value := measured(run, column)) is not None])

    def by_seed(self, column: str) -> dict[int, float]:
        """That number of each run that has it, by seed."""
        return {run.run.seed: value for run in self.runs if (value := measured(run, column)) is not None}

    @property
    def ma(self) -> Spread | None:
        """MA over seeds."""
        return self.spread_of("ma")

    @property
    def asr(self) -> Spread | None:
        """ASR over seeds."""
        return self.spread_of("asr")

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the runs that were measured, ascending."""
        return tuple(sorted(run.run.seed for run in self.runs if run.summary.ma_percent is not None))

    @property
    def flaw(self) -> str:
        """Why its numbers can't be compared with others', in words that stand beside them; empty where they can."""
        found: Counter[str] = Counter(run.summary.state for run in self.runs)
        parts = [_of_runs(WORDS.get(state, state), found[state], len(self.runs)) for state in UNSOUND if found[state]]
        rested = sum(_rested(run) for run in self.runs)
        return ", ".join([*parts, *([_of_runs("never attacked", rested, len(self.runs))] if rested else [])])

    @property
    def attacked(self) -> bool:
        """Whether clients took part in every run, and it was attacked."""
        return bool(self.runs) and all(is_attacked(run) for run in self.runs)

    @property
    def undefended(self) -> bool:
        """Whether every run took the plain mean of all clients and all data, with nothing before or after it."""
        return bool(self.runs) and all(is_undefended(run) for run in self.runs)


def is_undefended(run: RecordedRun) -> bool:
    """Whether the run took the plain mean of all clients, or plainly trained on poisoned data in one place.

    That is on all data, with nothing before or after it.
    """
    if run.run.purifier not in ("", "none") or run.run.repair:
        return False
    if is_poisoned_centrally(run):
        return True  # no server data are used there, whatever would part them
    return run.run.rule == "fedavg" and not is_sanitized(run)


def is_poisoned_centrally(run: RecordedRun) -> bool:
    """Whether all training data lie in one place, and somebody poisoned them there."""
    return any(r.facts.get("central.poisoned", 0.0) > 0 for r in run.rounds)


def is_sanitized(run: RecordedRun) -> bool:
    """Whether anything parts the server's synthetic data, or clients their own, before they are used."""
    if run.config.get("client.sanitizer", "none") != "none":
        return True
    return "none" not in (run.config.get("splitter.name", "none"), run.config.get("synthetic.sanitizer", "drop"))


def is_attacked(run: RecordedRun) -> bool:
    """Whether some clients attacked, or somebody at the server's data or at training data in one place did."""
    if is_poisoned_centrally(run):
        return True
    by_clients = attack_rounds(run.rounds) > 0
    return bool(run.run.rule and (run.run.malicious if by_clients else attacked(run.rounds)))


def notes_of(runs: Sequence[RecordedRun]) -> dict[str, list[int]]:
    """What a reader of single runs must know: note -> seeds of the runs that it holds for, in order."""
    found: dict[str, list[int]] = {}
    for run in runs:
        for note in run.notes:
            found.setdefault(note, []).append(run.run.seed)
    return found


def _rested(run: RecordedRun) -> bool:
    """Whether an attack that should have taken place didn't."""
    expected = run.run.attack_expected
    if expected is None:  # an older record
        expected = bool(run.run.rule and run.run.malicious)
    return expected and run.summary.rounds > 0 and not attacked(run.rounds)


def _of_runs(what: str, count: int, total: int) -> str:
    return what if count == total else f"{what} ({count} of {total} runs)"
