"""A control: any rows at all."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import nn

from defenses.base import SPLITTERS, Split, Splitter
from fedcrucible_core.foundation.base import GuideTargets
from fedcrucible_core.learning.data import Labeled


@SPLITTERS.register("random")
class Random(Splitter):
    """Control: a random ``share`` of all rows is called triggered, whatever they are.

    A filter that drops as much must do better than this one, or only the smaller set explains its numbers.
    """

    paper: ClassVar = "control"
    choices = ("sanitizer-controls",)
    cost = "none"
    share: float = Field(0.25, ge=0.0, lt=1.0, description="Share (fraction) of rows called triggered")

    def split(
        self,
        data: Labeled,
        guide: GuideTargets | None,
        model: nn.Module | None,
        rng: torch.Generator,
    ) -> Split:
        """Draw round(share x n) rows without repetition."""
        count = round(self.share * len(data))
        triggered = torch.zeros(len(data), dtype=torch.bool)
        triggered[torch.randperm(len(data), generator=rng)[:count]] = True
        return Split.by(~triggered, triggered)
