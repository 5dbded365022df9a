"""Smoothed prediction: the majority vote of noisy copies of a model, and what can be certified of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from defenses.kernels.certificate import LastRound, certified_radius, input_bound, largest_lr
from defenses.kernels.votes import vote_bounds
from fedcrucible_core.config.sections import TrainingSection
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.evaluation import NO_CLASS, predict
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.tasks import task_of
from fedcrucible_core.learning.vector import flatten_parameters, load_parameters


@dataclass(frozen=True)
class TrainedRun:
    """What a certificate needs to know of a run that has ended."""

    model: str
    """Registered name of the model."""
    linear: bool
    """Whether that is a multinomial logistic regression on the pixels."""
    followed_by: str
    """What works on the model that the rule makes: purifier, repair; empty = nothing."""
    own_data: bool
    """Whether clients train on data that the server doesn't know the size of."""
    training: TrainingSection
    """How clients train."""
    precision: str
    """Of training, e.g. ``fp32``."""
    info: DataInfo
    """Shape and normalisation of the images."""
    most_images: Callable[[], int]
    """Counts the images of the largest client."""
    shares: Sequence[float]
    """Every client's weight in the last round."""
    facts: Mapping[str, float]
    """What the rule says of its last round (``Aggregate.facts``)."""


@dataclass(frozen=True)
class Certified:
    """What a certificate comes to: numbers for the record, or why there is none."""

    facts: Mapping[str, float]
    refusal: str = ""


@dataclass(frozen=True)
class Smoothing:
    """How a rule wants its model measured: by the vote of noisy copies."""

    sigma: float
    """Deviation of the noise on every parameter; buffers get none."""
    copies: int
    """Copies that vote on the final model."""
    copies_between: int
    """Copies that vote in earlier evaluations; 0 = those measure the plain model."""
    alpha: float
    """Failure probability of one bound on a vote's share."""
    certified_attackers: int = 0
    """Attackers that a certified radius, where there is one, allows for; 0 = the rule asks for no certificate.

    Only a rule may ask for one that takes the weighted mean of the updates and then projects the model onto a ball, if
    it does: that is what the certificate is derived for.  The rule's facts must name ``sent_norm``, the length of the
    model that was sent out.
    """

    def certify(self, votes: Tensor, right: Tensor, run: TrainedRun) -> Certified:
        """Certified radii of votes int64 ``[n, C]`` of ``copies`` models; ``right`` bool ``[n]``: the winner is right.

        Facts, for attackers that keep their labels and for those that change them (``labels_kept``,
        ``labels_changed``): ``certified.<..>_percent`` of images that are right with a radius above 0, and
        ``certified.<..>_median_radius`` of those, in pixels of [0, 1].
        """
        energy = task_of(run.info).energy_bound
        refusal = self._refusal(run, energy)
        if refusal or energy is None:
            return Certified({}, refusal)
        shares = sorted(run.shares, reverse=True)[: self.certified_attackers]
        if not shares or sum(shares) <= 0.0:
            return Certified({})  # nobody trained in the last round: there is nothing to attack in it
        batches = math.ceil(run.most_images() / run.training.batch_size)
        past = LastRound(
            sent_norm=run.facts["sent_norm"],
            share=sum(shares),
            lr=run.training.lr,
            steps=run.training.local_epochs * batches,
            input_bound=input_bound(energy),
            smallest_std=min(run.info.std),
        )
        lower, upper = vote_bounds(votes, self.alpha, self.copies)
        facts = {}
        for name, relabel in (("kept", False), ("changed", True)):
            radius = certified_radius(lower, upper, self.sigma, past, relabel=relabel)
            facts[f"certified.labels_{name}_percent"] = 100.0 * float(((radius > 0) & right).double().mean())
            sure = radius[right & (radius > 0)]
            facts[f"certified.labels_{name}_median_radius"] = float(sure.median()) if len(sure) else 0.0
        return Certified(facts)

    def _refusal(self, run: TrainedRun, energy: float | None) -> str:
        """Why nothing can be certified in this run; empty when something can."""
        training = run.training
        if self.certified_attackers == 0:
            return "the constant isn't derived for this rule"
        if not run.linear:
            return f"the constant is derived for model 'logistic', not for {run.model!r}"
        if run.followed_by:
            return f"a {run.followed_by} follows the rule"
        if run.own_data:
            return "clients train on their own data, so how many steps they took isn't known"
        optimiser = training.optimiser != "sgd" or training.momentum or training.weight_decay
        if optimiser or training.augment != "none" or run.precision != "fp32":
            return "training must be plain SGD: optimiser sgd, momentum 0, weight decay 0, no augmentation, fp32"
        if energy is None:
            return f"how long inputs of task {run.info.task!r} can be isn't known"
        limit = largest_lr(input_bound(energy))
        if training.lr > limit:
            return f"training.lr = {training.lr:g} is above {limit:.3g}, where steps may move models apart"
        if run.shares and "sent_norm" not in run.facts:
            return "the rule doesn't say how long the model was that it sent out"
        return ""


def noisy_votes(
    model: SplitModel,
    sets: Sequence[Tensor],
    sigma: float,
    copies: int,
    rng: torch.Generator,
    batch_size: int,
    device: torch.device,
) -> list[Tensor]:
    """Votes int64 ``[n, C]`` of ``copies`` noisy models for every set of images ``[n, C, H, W]``.

    All sets are shown to the same copies.  A copy without a finite answer for an image votes for no class.  The model
    holds its own parameters again afterwards.
    """
    own = flatten_parameters(model)
    classes = model.head.out_features
    votes = [torch.zeros(len(images), classes, dtype=torch.int64) for images in sets]
    try:
        for _ in range(copies):
            load_parameters(model, own + sigma * torch.randn(own.shape, generator=rng))
            for images, count in zip(sets, votes, strict=True):
                chosen = predict(model, images, batch_size, device)
                voting = (chosen != NO_CLASS).nonzero().flatten()
                count[voting, chosen[voting]] += 1
    finally:
        load_parameters(model, own)
    return votes
