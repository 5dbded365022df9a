"""Min-Max and Min-Sum: as far from the mean as honest updates lie from one another."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from attacks.support.benign_statistics import FromBenignStatistics
from attacks.uploader import UPLOADERS, CraftContext

Direction = Literal["unit", "std", "sign"]


def perturbation(benign: Tensor, direction: Direction) -> Tensor:
    """The direction p ``[d]`` of benign updates ``[k, d]``: -mu / ||mu||, -std (of the population), or -sign(mu)."""
    mean = benign.mean(0)
    if direction == "unit":
        return -mean / max(math.sqrt(_dot(mean, mean)), 1e-12)
    return -benign.std(0, correction=0) if direction == "std" else -mean.sign()


def pair_distances(benign: Tensor) -> Tensor:
    """Squared Euclidean distances float64 ``[k, k]``, summed in float64, one pair at a time."""
    return torch.tensor([[_dot(a - b, a - b) for b in benign] for a in benign], dtype=torch.float64)


def _dot(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum(dtype=torch.float64))


class _AlongADirection(FromBenignStatistics):
    direction: Direction = Field(
        "unit", description="Perturbation p: unit = -mu/||mu||, std = -deviation, sign = -sign(mu)"
    )

    def common_update(self, benign: Tensor, ctx: CraftContext) -> Tensor:
        """``mu + gamma * p``; mu itself where p is zero."""
        p = perturbation(benign, self.direction)
        mean, square = benign.mean(0), _dot(p, p)
        return mean + self.gamma(benign, mean, p, square) * p if square > 0.0 else mean

    @abstractmethod
    def gamma(self, benign: Tensor, mean: Tensor, p: Tensor, square: float) -> float:
        """The largest factor that keeps the bound; ``square`` = ||p||^2 > 0."""


@UPLOADERS.register("min-max")
class MinMax(_AlongADirection):
    """Upload w_t + m, m = mu + gamma * p, with the largest gamma that keeps max_i ||m - b_i|| <= max_ij ||b_i - b_j||.

    b_i are the colluders' clean updates, mu their mean; p is chosen by ``direction``.  ||m - b_i||^2 is quadratic in
    gamma, so the largest gamma is the smallest positive root over i: exact, where a search may end beyond the bound.
    A lone attacker has no distances and uploads its clean update.
    """

    paper = ("shejwalkar2021", "Min-Max")
    choices = ("min-max-search", "colluder-statistics")
    cost = "clean training of every colluder, O(m^2 d)"
    traps = ("the exact largest step: the bound is never exceeded", "statistics of clean updates only")

    def gamma(self, benign: Tensor, mean: Tensor, p: Tensor, square: float) -> float:
        """Smallest positive root of g^2 ||p||^2 + 2 g p.(mu - b_i) + ||mu - b_i||^2 = max_jk ||b_j - b_k||^2."""
        bound, roots = float(pair_distances(benign).max()), []
        for row in benign:
            offset = mean - row
            half, rest = _dot(offset, p), max(0.0, bound - _dot(offset, offset))
            roots.append((math.sqrt(half * half + square * rest) - half) / square)
        return max(0.0, min(roots))


@UPLOADERS.register("min-sum")
class MinSum(_AlongADirection):
    """Like min-max, with sum_i ||m - b_i||^2 <= max_i sum_j ||b_i - b_j||^2 as the bound.

    The offsets mu - b_i add up to zero, so gamma^2 = (bound - sum_i ||mu - b_i||^2) / (k ||p||^2): exact.
    """

    paper = ("shejwalkar2021", "Min-Sum")
    choices = ("min-max-search", "colluder-statistics")
    cost = "clean training of every colluder, O(m^2 d)"
    traps = ("the exact largest step: the bound is never exceeded", "statistics of clean updates only")

    def gamma(self, benign: Tensor, mean: Tensor, p: Tensor, square: float) -> float:
        """The positive root."""
        bound = float(pair_distances(benign).sum(1).max())
        spread = sum(_dot(mean - row, mean - row) for row in benign)
        return math.sqrt(max(0.0, bound - spread) / (len(benign) * square))
