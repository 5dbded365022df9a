"""A fresh model on the clean part of a split: what a splitter alone is worth."""

from __future__ import annotations

from pydantic import Field

from defenses.base import REPAIRS, Needs, RepairContext
from defenses.kernels.noisy_labels import raised_cross_entropy
from defenses.support.fitting import FitOptions, fit, sample_losses, view_of
from defenses.support.training_anew import TrainingAnew
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.schedules import cosine


@REPAIRS.register("retrain")
class Retrain(TrainingAnew):
    """A fresh model is trained on the rows that the run's splitter calls clean; all others are dropped.

    With ``unlearn_epochs`` the cross-entropy of the triggered rows is raised at the end.  So a detector becomes a
    defence.  What the authors of ``mspc-split`` and ``pipd-isolate`` did with their detectors isn't public: numbers of
    this repair after them are no rows of their tables.
    """

    paper = "control: what a splitter alone is worth"
    choices = ("retrain-on-split",)
    cost = "epochs passes over the clean rows"
    epochs: int = Field(20, ge=1, description="Epochs on the clean rows, cosine learning rate")
    lr: float = Field(0.05, gt=0.0, description="Learning rate (SGD, momentum .9)")
    weight_decay: float = Field(5e-4, ge=0.0, description="L2 weight decay")
    unlearn_epochs: int = Field(0, ge=0, description="Epochs that raise the cross-entropy of the triggered rows")
    unlearn_lr: float = Field(5e-4, gt=0.0, description="Their learning rate (SGD, momentum .9)")
    batch_size: int = Field(64, ge=2, description="Samples per batch")

    @property
    def needs(self) -> Needs:
        """What the model was trained on, split."""
        return Needs(suspects=True, split=True)

    def train(self, model: SplitModel, data: Labeled, context: RepairContext) -> dict[str, float]:
        """Train, then unlearn. Facts: rows ``dropped``, the last ``loss``, cross-entropy of triggered rows."""
        _, split = context.require_split()
        if not len(split.clean):
            raise ValueError("the splitter calls no row clean: there is nothing to train on")
        rng, view = context.rng, view_of(context.training.augment, context.rng)
        options = FitOptions(self.lr, weight_decay=self.weight_decay, batch_size=self.batch_size)
        losses = fit(
            model, data.subset(split.clean), options, rng, epochs=self.epochs, view=view, schedule=cosine(self.epochs)
        )
        facts = {"dropped": float(len(data) - len(split.clean)), "loss": losses[-1]}
        if len(split.triggered):
            triggered = data.subset(split.triggered)
            if self.unlearn_epochs:
                options = FitOptions(self.unlearn_lr, weight_decay=self.weight_decay, batch_size=self.batch_size)
                fit(model, triggered, options, rng, epochs=self.unlearn_epochs, loss=raised_cross_entropy)
            facts["triggered_loss"] = float(sample_losses(model, triggered).clamp(max=1e6).mean())
        return facts
