"""Smoothed prediction: the majority vote of noisy copies of a model, with bounds on how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fedcrucible_core.learning.evaluation import NO_CLASS, predict
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.vector import flatten_parameters, load_parameters


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
    certified_attackers: int = 1
    """Attackers that a certified radius, where there is one, allows for."""


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
    classes = model.classifier.out_features
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


def winners(votes: Tensor, copies: int) -> Tensor:
    """The class int64 ``[n]`` with most votes ``[n, C]``, the first of equal ones; ``NO_CLASS`` where more of the
    ``copies`` voted for none."""
    most, winner = votes.max(1)
    return torch.where(copies - votes.sum(1) > most, NO_CLASS, winner)


def vote_bounds(votes: Tensor, alpha: float, copies: int | None = None) -> tuple[Tensor, Tensor]:
    """Lower bound of the winner's and upper bound of the runner-up's true share, float64 ``[n]`` each.

    Hoeffding: a share of M votes is within sqrt(ln(1/alpha) / (2 M)) of the truth on one side, but for probability
    alpha.  No other class can have more than what the winner leaves.  Winner and bounds come from the same votes.
    Of ``copies`` (None: all voted) those without a class count as one more candidate.
    """
    total = int(votes[0].sum()) if copies is None else copies
    none = total - votes.sum(1, keepdim=True)
    top = torch.cat([votes, none], dim=1).topk(2, dim=1).values.to(torch.float64) / total
    slack = math.sqrt(math.log(1.0 / alpha) / (2.0 * total))
    lower = (top[:, 0] - slack).clamp(min=0.0)
    return lower, torch.minimum(top[:, 1] + slack, 1.0 - lower)
