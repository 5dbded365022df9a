"""DBD, reduced: features without labels, then labels only where a robust loss finds them plausible."""

from __future__ import annotations

from functools import partial

import torch
from pydantic import Field
from torch import Tensor

from defenses.base import REPAIRS, RepairContext
from defenses.kernels.noisy_labels import symmetric_cross_entropy
from defenses.support.fitting import FitOptions, lowest, sample_losses, view_of
from defenses.support.mixmatch import MixMatch
from defenses.support.training_anew import LARGEST_SEED, TrainingAnew
from fedcrucible_core.learning.contrastive import Projected, supervised_contrastive
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.fit import minimise, training_mode
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.schedules import cosine
from fedcrucible_core.learning.views import contrastive_view

PUBLISHED_EPOCHS = (100, 10, 190)
"""Contrastive, warm-up and semi-supervised epochs of the authors' shipped settings."""


@REPAIRS.register("dbd")
class DecouplingBasedDefense(TrainingAnew):
    """Reduced DBD: a fresh model learns features from pictures alone, so that no trigger is tied to a label there.

    1. SimCLR on all pictures without labels, ``contrastive_epochs``; the projection head is thrown away.
    2. Warm-up of the output layer alone by symmetric cross-entropy on all samples, ``warmup_epochs``.
    3. ``epochs`` of MixMatch on the whole model: of all samples the ``keep`` (fraction) with the lowest symmetric
       cross-entropy keep their labels, chosen anew before every epoch, the others lose them.

    The published schedule takes hours on a GPU (1,000 or 100 contrastive epochs, 10, and 190 of 1,024 steps).  The
    defaults are meant for two cores, and a contrastive model that was trained so briefly is a weak one: their numbers
    are those of a reduced DBD.  The fact ``reduced`` says so in every record that falls short of the schedule.
    """

    paper = (
        ("huang2022dbd", "section 4, with a far shorter schedule"),
        ("chen2020simclr", ""),
        ("berthelot2019mixmatch", ""),
    )
    choices = ("dbd-reduced", "mixmatch")
    cost = "contrastive_epochs x 2 views of the training set, then epochs x iterations steps of MixMatch"
    traps = ("the warm-up moves no feature but the batch-norm statistics", "grey pictures have no hue or saturation")
    pictures_only = True
    contrastive_epochs: int = Field(
        10, ge=0, description="Epochs of SimCLR; the paper: 1,000, its shipped settings: 100"
    )
    contrastive_batch: int = Field(256, ge=2, description="Pictures per batch of SimCLR; its code: 512")
    contrastive_lr: float = Field(0.4, gt=0.0, description="Learning rate of SimCLR (SGD, momentum .9, cosine) at 512")
    contrast_temperature: float = Field(0.5, gt=0.0, description="Temperature of the contrastive loss")
    projection: int = Field(128, ge=1, le=4096, description="Outputs of the projection head")
    warmup_epochs: int = Field(2, ge=0, description="Epochs of the output layer alone; its code: 10")
    epochs: int = Field(10, ge=0, description="Epochs of MixMatch; its code: 190")
    iterations: int = Field(100, ge=1, description="Steps of an epoch of MixMatch; its code: 1,024")
    keep: float = Field(0.5, gt=0.0, le=1.0, description="Share (fraction) of samples that keep their labels")
    lr: float = Field(2e-3, gt=0.0, description="Learning rate of warm-up and MixMatch (Adam)")
    batch_size: int = Field(64, ge=2, description="Samples per batch of warm-up and MixMatch")

    def train(self, model: SplitModel, data: Labeled, context: RepairContext) -> dict[str, float]:
        """All stages. Facts: losses of each stage's last epoch, whether it was ``reduced``."""
        rng = context.rng
        lengths = (self.contrastive_epochs, self.warmup_epochs, self.epochs)
        facts = {"reduced": float(any(own < full for own, full in zip(lengths, PUBLISHED_EPOCHS, strict=True)))}
        contrast = self._contrast(model, data, rng)
        warm = self._warm_up(model, data, rng)

        def pool(_epoch: int) -> Tensor:
            return lowest(sample_losses(model, data, symmetric_cross_entropy), max(1, round(self.keep * len(data))))

        view = view_of("crop-flip", rng)
        assert view is not None
        mixed = MixMatch(self.iterations, self.batch_size, self.lr).fit(
            model, data, pool, rng, epochs=self.epochs, view=view
        )
        model.eval()
        named = {"contrastive_loss": contrast, "warmup_loss": warm, "loss": mixed}
        return facts | {name: losses[-1] for name, losses in named.items() if losses}

    def _contrast(self, model: SplitModel, data: Labeled, rng: torch.Generator) -> list[float]:
        seed = int(torch.randint(LARGEST_SEED, (), generator=rng))
        projected = Projected(model, self.projection, seed)
        size = min(self.contrastive_batch, len(data))

        def loss(rows: Tensor) -> Tensor:
            x = data.inputs[rows]
            pairs = torch.arange(len(rows), device=x.device).repeat(2)
            views = torch.cat([contrastive_view(x, rng), contrastive_view(x, rng)])
            return supervised_contrastive(projected(views), pairs, self.contrast_temperature)

        options = FitOptions(self.contrastive_lr * size / 512.0, weight_decay=1e-4, batch_size=size)
        return minimise(
            projected.parameters(), loss, len(data), options, rng, epochs=self.contrastive_epochs,
            mode=partial(training_mode, projected), schedule=cosine(self.contrastive_epochs),
        )  # fmt: skip

    def _warm_up(self, model: SplitModel, data: Labeled, rng: torch.Generator) -> list[float]:
        """The output layer alone learns; batch statistics normalise, and the running ones move, as in the code."""

        def loss(rows: Tensor) -> Tensor:
            with torch.no_grad():
                features = model.embed(data.inputs[rows])
            return symmetric_cross_entropy(model.head(features), data.labels[rows]).mean()

        options = FitOptions(self.lr, "adam", batch_size=self.batch_size)
        return minimise(
            model.head.parameters(), loss, len(data), options, rng, epochs=self.warmup_epochs,
            mode=partial(training_mode, model),
        )  # fmt: skip
