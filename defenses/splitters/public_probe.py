"""The control without which a guide means little: a plain classifier of what the guide itself learned from."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from defenses.base import SPLITTERS, FreshModels, Needs, Split, Splitter
from defenses.support.suspicion import model_logits
from fedcrucible_core.foundation.base import GuideTargets
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.evaluation import classes_of


@SPLITTERS.register("public-probe")
class PublicProbe(Splitter):
    """Clean are the rows whose label a classifier trained on the guide's own public slice gives; others are triggered.

    For pictures the classifier is the run's architecture trained from scratch, for texts one linear layer on the
    guide's embeddings.  It knows real labelled samples of the task, which a zero-shot guide doesn't; where the shipped
    guide was trained on just these, the comparison shows what the guide adds to them.
    """

    paper: ClassVar = "control"
    choices = ("sanitizer-controls",)
    knowledge = ("a public labelled slice of the task",)
    cost = "training on the slice: seconds"
    classifier: Literal["auto", "model", "probe"] = Field(
        "auto", description="model: the run's architecture; probe: linear on the guide's embeddings; auto: by task"
    )
    epochs: int = Field(20, ge=1, description="Epochs of the architecture on the slice")
    probe_epochs: int = Field(100, ge=1, description="Epochs of the linear layer on the slice")
    lr: float = Field(0.01, gt=0.0, description="Learning rate (Adam)")
    weight_decay: float = Field(1e-5, ge=0.0, description="L2 weight decay")
    batch_size: int = Field(64, ge=1, description="Samples per batch")

    @property
    def needs(self) -> Needs:
        """One classifier trained on the public slice."""
        return Needs(
            fresh=FreshModels(
                epochs=self.epochs, probe_epochs=self.probe_epochs, on="public", kind=self.classifier, lr=self.lr,
                weight_decay=self.weight_decay, batch_size=self.batch_size,
            )
        )  # fmt: skip

    def split(
        self,
        data: Labeled,
        guide: GuideTargets | None,
        model: nn.Module | None,
        rng: torch.Generator,
    ) -> Split:
        """Split by agreement. Scores: ``agrees`` 1 or 0 of every row. Raises ValueError without a classifier."""
        if model is None:
            raise ValueError("public-probe needs a classifier trained on the public slice")
        answers = model_logits(model, data)
        agrees = classes_of(answers).cpu() == data.labels.cpu()
        return replace(Split.by(agrees, ~agrees, {"agrees": agrees.to(torch.float64)}), logits=answers)
