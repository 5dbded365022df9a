"""What ``fedcrucible.purify`` returns: the purified network, what was split, and the run that did it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from fedcrucible.frames import frame_of
from fedcrucible.run_result import Run

if TYPE_CHECKING:
    import pandas as pd

    from fedcrucible_core.learning.models import SplitModel
    from fedcrucible_core.records.split_table import RecordedSplit


@dataclass(frozen=True, repr=False)
class Purification:
    """A model after its repair, with the split of the set that it was trained on."""

    run: Run
    """The record: numbers, settings, page."""
    model: SplitModel
    """The network, in eval mode, on the CPU; inputs are pictures ``[n, C, H, W]`` in [0, 1], or token ids."""
    tested: bool
    """Whether rates are of inputs that nobody trained on; False: the set has no test split."""

    @cached_property
    def split(self) -> pd.DataFrame:
        """One row a sample, by its place in the set: the columns of split.csv. Needs pandas.

        Empty where the method splits nothing.
        """
        from fedcrucible_core.records.split_table import as_mapping

        found = self._recorded
        return frame_of([] if found is None else map(as_mapping, found.rows))

    @property
    def purified(self) -> bool:
        """Whether the method did its work; False: it failed, ``reason`` says why, and the model is the one before."""
        return not self.reason

    @property
    def reason(self) -> str:
        """Why the model was kept as it was; empty where it was repaired."""
        return kept_reason(self.run)

    @cached_property
    def _recorded(self) -> RecordedSplit | None:
        from fedcrucible_core.records.reader import split_of

        return split_of(self.run.folder)

    def __repr__(self) -> str:
        facts = last_facts(self.run)
        sizes = ", ".join(
            f"{part} {facts[f'repair.split_{part}']:,.0f}" for part in PARTS if f"repair.split_{part}" in facts
        )
        return f"<purified by {self.run.record.run.repair}: {sizes or 'nothing was split'}; {self.run.folder}>"


PARTS = ("clean", "triggered", "mixed")


UNTOUCHED = (
    "the early stop kept the model as it was: every epoch cost more held-out accuracy than "
    "repair.cgd-unlearn.tolerance, which may be larger where the set is small"
)


def last_facts(run: Run) -> dict[str, float]:
    """Facts of the run's repair; empty where there was none."""
    rounds = [one for one in run.record.rounds if one.stage == "repair"]
    return dict(rounds[-1].facts) if rounds else {}


def notes_of(run: Run) -> tuple[str, ...]:
    """What a reader must know: of the run, then of its repair."""
    rounds = [one for one in run.record.rounds if one.stage == "repair"]
    return tuple(dict.fromkeys((*run.notes, *(rounds[-1].notes if rounds else ()))))


def kept_reason(run: Run) -> str:
    """Why the repair left the model as it was; empty where it did its work."""
    rounds = [one for one in run.record.rounds if one.stage == "repair"]
    if not rounds:
        return "the run ended before the repair"
    if rounds[-1].facts.get("repair.kept_epoch") == 0:
        return UNTOUCHED
    return next((note for note in rounds[-1].notes if "model was kept" in note), "")
