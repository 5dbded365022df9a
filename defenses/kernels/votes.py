"""Votes of several models on the same images: who wins, and how sure that is."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fedcrucible_core.learning.evaluation import NO_CLASS


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
