"""A number that a paper prints, with ours beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedcrucible_core.reports.statistics.spread import Spread

NOT_SAID = "-"


@dataclass(frozen=True)
class Printed:
    """One of a row's numbers in a paper."""

    name: str
    """What the paper calls it, e.g. ``ASR``."""
    value: float | str
    """As printed; words where the paper gives no figure."""
    column: str
    """Our number that it stands beside (see ``MEASURES``)."""
    drop: bool = False
    """Whether it is how much lower that number is than the undefended run's, in points."""
    ours: Spread | None = None
    """Ours over seeds: the number, or its drop over the seeds that both have."""

    def text(self, digits: int = 2) -> str:
        """What the paper says."""
        return f"{self.value:.{digits}f}" if isinstance(self.value, float) else self.value or NOT_SAID

    @property
    def said(self) -> bool:
        """Whether the paper says anything."""
        return self.value != ""

    def is_of(self, column: str) -> bool:
        """Whether it is the paper's value of that column itself."""
        return self.column == column and not self.drop

    @property
    def sentence(self) -> str:
        """Both, for a place where ours isn't shown by itself."""
        ours = NOT_SAID if self.ours is None else f"{self.ours.mean:.2f}"
        return f"{self.name} {ours} (paper {self.text()})"


def beside(printed: Sequence[Printed], *shown: str) -> str:
    """A paper's numbers in one line, beside columns that are ``shown`` in that order; empty where it says nothing."""
    if len(printed) == len(shown) and all(one.is_of(column) for one, column in zip(printed, shown, strict=True)):
        return "paper " + " / ".join(one.text() for one in printed)
    return ", ".join(one.sentence for one in printed if one.said)
