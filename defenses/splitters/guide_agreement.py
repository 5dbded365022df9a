"""Clean is what the guide would have labelled alike."""

from __future__ import annotations

import torch
from torch import nn

from defenses.base import SPLITTERS, Needs, Split, Splitter
from fedcrucible_core.foundation.base import GuideTargets
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.evaluation import classes_of


@SPLITTERS.register("guide-agreement")
class GuideAgreement(Splitter):
    """Clean are the rows whose label is the guide's top-1 class; all others look poisoned, none is undecided.

    The guide's answer is the class of its largest logit.  A guide that is wrong on clean images costs those images: on
    classes that it doesn't know, most of them.  It sees nothing of a clean-label backdoor.
    """

    paper = "an option of our own for CLIP-Fed's synthetic set"
    choices = ("server-images",)
    knowledge = ("foundation model (CLIP)",)
    cost = "the guide's embedding of every image; cached"
    dropped_fact = "dropped_by_guide"

    @property
    def needs(self) -> Needs:
        """The guide."""
        return Needs(guide=True)

    def split(
        self,
        data: Labeled,
        guide: GuideTargets | None,
        model: nn.Module | None,
        rng: torch.Generator,
    ) -> Split:
        """Split by agreement. Scores: ``agrees`` 1 or 0 of every row. Raises ValueError without a guide."""
        if guide is None:
            raise ValueError("guide-agreement needs what the guide says of the samples")
        agrees = classes_of(guide.logits).cpu() == data.labels.cpu()
        return Split.by(agrees, ~agrees, {"agrees": agrees.to(torch.float64)})
