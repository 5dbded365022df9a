"""ASD: a pool of samples that keep their labels, grown by loss and at last by how slowly they are learned."""

from __future__ import annotations

import copy
import math
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from defenses.base import REPAIRS, CleanNeeds, Needs, RepairContext
from defenses.kernels.noisy_labels import symmetric_cross_entropy
from defenses.support.fitting import FitOptions, lowest, sample_losses, view_of
from defenses.support.mixmatch import MixMatch
from defenses.support.training_anew import TrainingAnew
from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.fit import minimise, training_mode
from fedcrucible_core.learning.models.base import SplitModel


@REPAIRS.register("asd")
class AdaptiveSplitting(TrainingAnew):
    """A fresh model learns by MixMatch; which samples keep their labels is decided anew before every epoch.

    1. First half: the known-clean seeds, and of every class the k samples with the lowest symmetric cross-entropy;
       k grows by ``grow`` every ``grow_every`` epochs.
    2. Third quarter: the seeds and the half of all samples with the lowest one.
    3. Last quarter: a copy of the model learns all samples for an epoch, the last half of its layers alone.  The half
       of samples whose cross-entropy falls least keeps its labels: what is learned at once looks poisoned.

    It needs samples that are known to be clean, 10 a class in the paper.  The authors' code takes them from the
    training set by the true poison flags; here they are samples of their own, and no flag is ever read.
    """

    paper = (("gao2023asd", "section 3 and algorithm 1, with a shorter schedule"), ("berthelot2019mixmatch", ""))
    choices = ("asd-schedule", "mixmatch")
    knowledge = ("the poisoned training set", "10 clean samples a class")
    cost = "epochs x iterations steps of MixMatch; a pass over the training set an epoch"
    traps = (
        "the seeds are drawn without the true poison flags",
        "few classes of few samples: k stops at what there is",
    )
    pictures_only = True
    clean: Literal["validation", "synthetic", "split"] = Field(
        "validation", description="Where the seeds come from: real samples, the server's, what the splitter calls clean"
    )
    clean_samples: int = Field(100, ge=1, description="Known-clean seeds, stratified by class; the paper: 10 a class")
    epochs: int = Field(30, ge=0, description="Epochs of all three parts, 2 : 1 : 1; its code: 120")
    iterations: int = Field(100, ge=1, description="Steps of an epoch of MixMatch; its code: 1,024")
    grow: int = Field(10, ge=0, description="Samples by which k grows, and with which it begins")
    grow_every: int = Field(1, ge=1, description="Epochs after which k grows; its code: 5")
    keep: float = Field(0.5, gt=0.0, le=1.0, description="Share (fraction) that keeps its labels in parts 2 and 3")
    meta_lr: float = Field(0.015, gt=0.0, description="Learning rate of the copy (Adam)")
    lr: float = Field(2e-3, gt=0.0, description="Learning rate of MixMatch (Adam)")
    batch_size: int = Field(64, ge=2, description="Samples per batch")

    @property
    def needs(self) -> Needs:
        """What the model was trained on, and seeds with true labels."""
        return Needs(suspects=True, clean=CleanNeeds(self.clean, self.clean_samples))

    def check(self, model: SplitModel, info: DataInfo) -> None:
        """Raise ConfigError where inputs are no pictures, or not every class can have a seed."""
        super().check(model, info)
        if self.clean_samples < info.num_classes:
            raise ConfigError(
                "repair.asd.clean_samples", self.clean_samples, f"must be at least the {info.num_classes} classes"
            )

    def train(self, model: SplitModel, data: Labeled, context: RepairContext) -> dict[str, float]:
        """All parts. Facts: samples that keep their labels at the end, k, the loss of the last epoch."""
        rng, seeds = context.rng, context.require_clean()
        everything = Labeled(torch.cat([seeds.inputs, data.inputs]), torch.cat([seeds.labels, data.labels]))
        known = torch.arange(len(seeds))
        sizes = {"labelled": 0.0}

        def pool(epoch: int) -> Tensor:
            chosen = self.pool(model, data, epoch, rng) + len(seeds)
            rows = torch.cat([known, chosen])
            sizes["labelled"] = float(len(rows))
            return rows

        view = view_of("crop-flip", rng)
        assert view is not None
        losses = MixMatch(self.iterations, self.batch_size, self.lr).fit(
            model, everything, pool, rng, epochs=self.epochs, view=view
        )
        model.eval()
        return {**sizes, "seeds": float(len(seeds))} | ({"loss": losses[-1]} if losses else {})

    def pool(self, model: SplitModel, data: Labeled, epoch: int, rng: torch.Generator) -> Tensor:
        """Rows int64 of ``data`` that keep their labels in an epoch (0, 1, ...); the seeds aren't among them."""
        half, three_quarters = math.ceil(self.epochs / 2), math.ceil(self.epochs * 3 / 4)
        count = max(1, round(self.keep * len(data)))
        if epoch >= three_quarters:
            return lowest(self.learned(model, data, rng), count)
        losses = sample_losses(model, data, symmetric_cross_entropy)
        if epoch >= half:
            return lowest(losses, count)
        return lowest_by_class(losses, data.labels.cpu(), self.grow * (1 + epoch // self.grow_every))

    def learned(self, model: SplitModel, data: Labeled, rng: torch.Generator) -> Tensor:
        """By how much each sample's cross-entropy ``[n]`` falls when a copy's last layers learn all for an epoch."""
        clone = copy.deepcopy(model)
        layers = list(clone.parameters())
        for parameter in layers[: len(layers) // 2]:
            parameter.requires_grad_(False)

        def loss(rows: Tensor) -> Tensor:
            return F.cross_entropy(clone(data.inputs[rows]), data.labels[rows])

        before = sample_losses(model, data)
        minimise(
            clone.parameters(), loss, len(data), FitOptions(self.meta_lr, "adam", batch_size=self.batch_size), rng,
            mode=partial(training_mode, clone),
        )  # fmt: skip
        return (before - sample_losses(clone, data)).nan_to_num(nan=torch.inf)


def lowest_by_class(values: Tensor, labels: Tensor, count: int) -> Tensor:
    """Row numbers int64 of the ``count`` lowest of ``[n]`` within each label, ascending; all where there are fewer."""
    rows = [(labels == label).nonzero().flatten() for label in torch.unique(labels)]
    chosen = [own[values[own].argsort(stable=True)[:count]] for own in rows]
    return torch.cat(chosen).sort().values
