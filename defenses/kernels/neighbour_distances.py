"""Distances to the k-th nearest neighbour of a group, and how thin the surroundings are compared to the neighbours'."""

from __future__ import annotations

import torch
from torch import Tensor

FLOOR = 1e-9
"""Least distance: copies of a row are neighbours at no distance, and a ratio needs one."""
ROWS = 2_000
"""Rows whose distances to a group are held at once."""


def distances(points: Tensor, others: Tensor) -> Tensor:
    """Euclidean distances float64 ``[n, m]`` between rows ``[n, e]`` and ``[m, e]``, at least ``FLOOR``."""
    parts = [
        torch.cdist(part, others, compute_mode="donot_use_mm_for_euclid_dist") for part in torch.split(points, ROWS)
    ]
    return torch.cat(parts).clamp(min=FLOOR)


def kth_distance(points: Tensor, others: Tensor, k: int) -> Tensor:
    """Distance float64 ``[n]`` of each row to its k-th nearest of ``others``; k is at most their number."""
    return distances(points, others).kthvalue(min(k, len(others)), dim=1).values


def slof(points: Tensor, k: int) -> Tensor:
    """Simplified local outlier factor float64 ``[n]``: the mean over the k nearest j of d_k(i) / d_k(j).

    After schubert2014local.  d_k is the distance to the k-th nearest other row: the factor is near 1 inside a cluster
    of any density and large where the surroundings are thinner than those of the neighbours.  It is 1 where a row is
    alone; k is at most n - 1.
    """
    n = len(points)
    if n < 2:
        return torch.ones(n, dtype=torch.float64)
    k = min(k, n - 1)
    apart = distances(points, points).fill_diagonal_(torch.inf)
    near = apart.topk(k, dim=1, largest=False)
    reach = near.values[:, -1]
    return (reach[:, None] / reach[near.indices]).mean(1)
