"""What repairs share that work with a small set of true labels."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field

from defenses.base import CleanNeeds, Needs, Repair, RepairContext
from defenses.support.fitting import held_out
from fedcrucible_core.learning.data import Labeled


class CleanRepair(Repair):
    """A repair that needs samples with true labels, and holds part of them out for its own choices.

    Their papers take real ones.  With ``clean = split`` they are what the run's splitter calls clean of the very set
    that the model was trained on (the SC variants of xu2025cgd): nothing needs to be known to be clean.
    """

    knowledge: ClassVar[tuple[str, ...]] = ("real clean samples (clean=validation)",)
    clean: Literal["validation", "synthetic", "split"] = Field(
        "validation", description="Samples with true labels: real ones, the server's, or what the splitter calls clean"
    )
    clean_samples: int = Field(500, ge=0, description="How many, stratified by class; split: 0 = all that are clean")
    clean_share: float = Field(
        1.0, gt=0.0, le=1.0, description="split: stratified share (fraction) of the clean part that is used"
    )
    duplicates: bool = Field(
        False, description="split: draw each class with replacement up to the largest, as CGD's code hands it on"
    )
    held_share: float = Field(
        0.2, ge=0.0, lt=1.0, description="Share (fraction) of them that is held out for the repair's own choices"
    )

    @property
    def needs(self) -> Needs:
        """Samples with true labels."""
        return Needs(clean=self.clean_needs)

    @property
    def clean_needs(self) -> CleanNeeds:
        """Which, and how many."""
        return CleanNeeds(self.clean, self.clean_samples, self.clean_share, self.duplicates)

    def sets(self, context: RepairContext, rng: torch.Generator) -> tuple[Labeled, Labeled]:
        """What is trained on, and what is held out."""
        return held_out(context.require_clean(), self.held_share, rng)
