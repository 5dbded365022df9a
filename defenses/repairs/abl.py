"""Anti-backdoor learning: what is learned first is isolated, and unlearned at the end."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from defenses.base import REPAIRS, RepairContext
from defenses.kernels.noisy_labels import Ascent, held_up, raised_cross_entropy
from defenses.support.fitting import FitOptions, fit, lowest, sample_losses, view_of, without
from defenses.support.training_anew import TrainingAnew
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.schedules import step
from fedcrucible_core.learning.tasks import task_of
from fedcrucible_core.learning.views import cutout


@REPAIRS.register("abl")
class AntiBackdoorLearning(TrainingAnew):
    """A fresh model is trained in three stages; poison is taken for what it learns most easily.

    1. ``tuning_epochs`` on all samples, by a loss that is ascended below ``gamma``: clean samples hover there, poisoned
       ones fall below.  The ``isolate`` (fraction) of samples with the lowest cross-entropy is isolated.
    2. ``epochs`` of plain training on the others; the learning rate falls to a tenth after two thirds.
    3. ``unlearn_steps`` that raise the cross-entropy of the isolated samples.
    """

    paper = (("li2021abl", "section 3.3, eqs. 3 to 5"),)
    choices = ("abl-stages",)
    cost = "tuning_epochs + epochs passes over the training set"
    traps = ("the loss is held up by batch or by sample, as said", "unlearning is counted in steps, not in epochs")
    tuning_epochs: int = Field(10, ge=1, description="Epochs of the first stage; the paper: 20, its code: 10")
    gamma: float = Field(0.5, ge=0.0, description="Loss below which it is ascended")
    ascent: Ascent = Field("flooding", description="flooding: |l - gamma| + gamma; lga: sign(l - gamma) l")
    per_sample: bool = Field(
        False, description="Hold up every sample's loss (the paper) or the batch's mean (its code)"
    )
    isolate: float = Field(0.01, gt=0.0, lt=1.0, description="Share (fraction) of samples that is isolated")
    epochs: int = Field(10, ge=0, description="Epochs of the second stage; the paper: 60")
    lr: float = Field(0.1, gt=0.0, description="Learning rate of both stages (SGD, momentum .9)")
    weight_decay: float = Field(1e-4, ge=0.0, description="L2 weight decay")
    cutout_side: int = Field(
        0, ge=0, description="Second stage: side in pixels of a square cut out; its code: 16; 0 = none"
    )
    unlearn_steps: int = Field(
        32,
        ge=0,
        description="Steps of the third stage: the code's 4 epochs of 500 samples; the paper's 20 are 160 steps",
    )
    unlearn_lr: float = Field(5e-4, gt=0.0, description="Its learning rate (SGD, momentum .9)")
    batch_size: int = Field(64, ge=2, description="Samples per batch")

    def train(self, model: SplitModel, data: Labeled, context: RepairContext) -> dict[str, float]:
        """All stages. Facts: ``isolated`` samples, cross-entropy of them after each stage, loss of the second."""
        rng, view = context.rng, view_of(context.training.augment, context.rng)
        options = FitOptions(self.lr, weight_decay=self.weight_decay, batch_size=self.batch_size)
        fit(model, data, options, rng, epochs=self.tuning_epochs, view=view, loss=self._tuning_loss)
        losses = sample_losses(model, data)
        isolated = lowest(losses, max(1, round(self.isolate * len(data))))
        facts = {"isolated": float(len(isolated)), "isolated_loss_tuned": float(losses[isolated].mean())}
        rest = without(isolated, len(data))
        if len(rest):
            pictured = task_of(context.info).pictured
            view = partial(self._cut, view=view, rng=rng) if self.cutout_side and pictured else view
            schedule = step(math.ceil(self.epochs * 2 / 3))
            trained = fit(model, data.subset(rest), options, rng, epochs=self.epochs, view=view, schedule=schedule)
            facts |= {"loss": trained[-1]} if trained else {}
        suspected = data.subset(isolated)
        facts["isolated_loss_trained"] = float(sample_losses(model, suspected).mean())
        self._unlearn(model, suspected, rng)
        facts["isolated_loss_unlearned"] = float(sample_losses(model, suspected).mean())
        return facts

    def _tuning_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        losses = F.cross_entropy(logits, labels, reduction="none")
        return held_up(losses, self.gamma, self.ascent, per_sample=self.per_sample)

    def _cut(self, x: Tensor, view: Callable[[Tensor], Tensor] | None, rng: torch.Generator) -> Tensor:
        return cutout(x if view is None else view(x), self.cutout_side, rng)

    def _unlearn(self, model: SplitModel, suspected: Labeled, rng: torch.Generator) -> None:
        options = FitOptions(self.unlearn_lr, weight_decay=self.weight_decay, batch_size=self.batch_size)
        epochs = math.ceil(self.unlearn_steps / math.ceil(len(suspected) / self.batch_size))
        fit(model, suspected, options, rng, epochs=epochs, loss=raised_cross_entropy)
