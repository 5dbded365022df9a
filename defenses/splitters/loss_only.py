"""What freshly trained models learn first looks poisoned; no guide is asked."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import nn

from defenses.base import SPLITTERS, Split
from defenses.support.fresh_training import FreshTraining
from defenses.support.suspicion import Cut, model_surprise, suspicious
from fedcrucible_core.foundation.base import GuideTargets
from fedcrucible_core.learning.data import Labeled


@SPLITTERS.register("loss-only")
class LossOnly(FreshTraining):
    """Triggered are the rows with the lowest loss of models trained for a few epochs on the very set (ABL's isolation).

    ABL isolates by the loss of one model under a gradient ascent that keeps clean losses up; here the plain loss of
    several fresh models is taken, as CGD does for its second score.  A control: what the guide adds is what a splitter
    with a guide does better than this one.
    """

    paper: ClassVar = (("li2021abl", "Section 3.3, isolation by loss; an approximation"),)
    choices = ("cgd-fresh-models", "loss-only-share")
    cost = "3 x 5 epochs of training on the set"
    cut: Cut = Field("share", description="Where suspicion begins on -loss: share, or a cut of the distribution")
    share: float = Field(0.1, gt=0.0, lt=1.0, description="share: share (fraction) of rows with the lowest loss")
    models: int = Field(3, ge=1, le=20, description="Models trained from scratch on the set, logits averaged")

    def split(
        self,
        data: Labeled,
        guide: GuideTargets | None,
        model: nn.Module | None,
        rng: torch.Generator,
    ) -> Split:
        """Split by loss. Scores: ``s_model`` (nats). Raises ValueError without models."""
        if model is None:
            raise ValueError("loss-only needs freshly trained models")
        losses = model_surprise(model, data)
        triggered = suspicious(-losses, self.cut, self.share)
        return Split.by(~triggered, triggered, {"s_model": losses}, {"flagged": float(triggered.sum())})
