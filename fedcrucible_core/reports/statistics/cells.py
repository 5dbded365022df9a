"""One cell of a comparison: what its runs have in common, and what may be said of their numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fedcrucible_core.records.findings import attack_rounds
from fedcrucible_core.records.reader import RecordedRun
from fedcrucible_core.records.schema import Detection
from fedcrucible_core.reports.statistics.spread import Spread, spread

UNSOUND = ("dead", "unchanged", "alone")
"""States of a run whose numbers are listed and never compared; see ``RunSummary.state``."""
WORDS = {"alone": "no clients"}
"""How a reader is told, where the state's name doesn't say it."""
Rate = Literal["tpr_percent", "fpr_percent"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Runs that differ in their seed only; none where they are still missing."""

    label: str
    """What the reader calls it: mostly the system's name."""
    runs: tuple[RecordedRun, ...]

    @property
    def title(self) -> str:
        """What it is called among the cells that it is judged with; no two of them share it."""
        return self.label

    def spread_of(self, name: str) -> Spread | None:
        """Mean and spread over runs of a number of the summary; None when no run has it."""
        return spread([value for run in self.runs if (value := getattr(run.summary, name)) is not None])

    def detection_of(self, rate: Rate) -> Spread | None:
        """Mean and spread of TPR or FPR over all runs that have one, those in which nobody was rejected included."""
        found = [getattr(caught, rate) for run in self.runs if (caught := detection_of(run)) is not None]
        return spread([value for value in found if value is not None])

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
        """Whether clients took part in every run, and some of them attacked."""
        return bool(self.runs) and all(is_attacked(run) for run in self.runs)

    @property
    def undefended(self) -> bool:
        """Whether every run took the plain mean of all clients, with nothing before or after it."""
        return bool(self.runs) and all(is_undefended(run) for run in self.runs)


def is_undefended(run: RecordedRun) -> bool:
    """Whether the run took the plain mean of all clients, with nothing before or after it."""
    return run.run.rule == "fedavg" and run.run.purifier in ("", "none") and not run.run.repair


def is_attacked(run: RecordedRun) -> bool:
    """Whether clients took part and some of them attacked."""
    return bool(run.run.rule and run.run.malicious and attack_rounds(run.rounds))


def detection_of(run: RecordedRun) -> Detection | None:
    """Who was rejected; None where nobody was judged: without clients, and by the plain mean, which takes everybody."""
    return None if run.run.rule == "fedavg" else run.summary.detection


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
    return expected and run.summary.rounds > 0 and not attack_rounds(run.rounds)


def _of_runs(what: str, count: int, total: int) -> str:
    return what if count == total else f"{what} ({count} of {total} runs)"
