"""Exact k-means of numbers on a line, and the gap statistic that says how many clusters they have."""

from __future__ import annotations

import torch
from torch import Tensor

CELLS = 4_000_000
"""Numbers in one table of interval costs; more reference sets than fit are worked on in turn."""


def within_sums(values: Tensor, most: int) -> Tensor:
    """Smallest within-cluster sums of squares float64 ``[b, most]`` of 1, 2, ... clusters of every row ``[b, n]``.

    Dynamic programming over the sorted numbers, n >= most: the best clustering of a line is into intervals, so nothing
    is drawn and nothing depends on a start, unlike Lloyd's algorithm.
    """
    cost = _interval_costs(values.to(torch.float64).sort(dim=1).values)
    best = cost[:, 0].clone()  # of the first j + 1 numbers, one cluster
    sums = [best[:, -1]]
    none = torch.full((len(values), 1), torch.inf, dtype=torch.float64)
    for _ in range(1, most):
        previous = torch.cat([none, best[:, :-1]], dim=1)
        best = (previous[:, :, None] + cost).amin(1)  # the last cluster starts at row i
        sums.append(best[:, -1])
    return torch.stack(sums, dim=1)


def upper_cluster(values: Tensor) -> Tensor:
    """Members, bool ``[n]``, of the higher of the two clusters of exact 2-means; equal numbers stay together."""
    ordered = values.to(torch.float64).sort().values
    cost = _interval_costs(ordered[None])[0]
    splits = cost[0, :-1] + cost[1:, -1]
    splits = torch.where(ordered[1:] > ordered[:-1], splits, torch.inf)
    if not bool(torch.isfinite(splits).any()):
        return torch.zeros(len(values), dtype=torch.bool)
    return values.to(torch.float64) > ordered[int(splits.argmin())]


def count_clusters(values: Tensor, most: int, draws: int, rng: torch.Generator) -> int:
    """Number of clusters by the gap statistic (tibshirani2001gap): 1 .. ``most``.

    Values are scaled to [0, 1]; Gap(k) = mean over ``draws`` uniform sets of log W_k - log W_k of the values; the
    answer is the first k with Gap(k) >= Gap(k + 1) - s_{k+1}, s_k = sd * sqrt(1 + 1/draws), or ``most``.  Equal
    values have one cluster.
    """
    n = len(values)
    most = min(most, n - 1)
    spread = float(values.max() - values.min())
    if most < 2 or spread <= 0.0:
        return 1
    scaled = (values.to(torch.float64) - values.min()) / spread
    own = _log_sums(scaled[None], most)[0]
    uniform = torch.rand(draws, n, generator=rng, dtype=torch.float64)
    at_once = max(1, CELLS // n**2)
    references = torch.cat([_log_sums(uniform[i : i + at_once], most) for i in range(0, draws, at_once)])
    gaps = references.mean(0) - own
    error = references.std(0, correction=0) * (1.0 + 1.0 / draws) ** 0.5
    enough = gaps[:-1] >= gaps[1:] - error[1:]
    return int(enough.int().argmax()) + 1 if bool(enough.any()) else most


def _log_sums(values: Tensor, most: int) -> Tensor:
    return within_sums(values, most).clamp(min=1e-12).log()


def _interval_costs(ordered: Tensor) -> Tensor:
    """Within-cluster sums of squares float64 ``[b, n, n]`` of the numbers i..j of each row (infinite for i > j)."""
    n = ordered.shape[1]
    centred = ordered - ordered.mean(1, keepdim=True)
    zero = torch.zeros(len(ordered), 1, dtype=torch.float64)
    sums = torch.cat([zero, centred.cumsum(1)], dim=1)
    squares = torch.cat([zero, centred.square().cumsum(1)], dim=1)
    counts = (torch.arange(1, n + 1)[None, :] - torch.arange(n)[:, None]).to(torch.float64)
    total = sums[:, None, 1:] - sums[:, :-1, None]
    square = squares[:, None, 1:] - squares[:, :-1, None]
    return torch.where(counts > 0, (square - total.square() / counts.clamp(min=1.0)).clamp(min=0.0), torch.inf)
