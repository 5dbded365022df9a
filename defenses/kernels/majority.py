"""The one cluster that holds more than half of the clients, by HDBSCAN or by its closed form."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Method = Literal["closed-form", "hdbscan"]


def majority_size(n: int) -> int:
    """Smallest majority of n clients: n // 2 + 1."""
    return n // 2 + 1


def majority_cluster(distances: Tensor, size: int, method: Method = "closed-form") -> Tensor:
    """Members, bool ``[n]``, of the single cluster of at least ``size`` > n/2 points.

    Settings: HDBSCAN with min_cluster_size = ``size``, min_samples = 1, allow_single_cluster, epsilon 0 on a
    PRECOMPUTED distance matrix.  Two clusters of that size can't exist, so the condensed tree never branches, and the
    cluster is the set of points that leave last: plain single linkage, stopped at the first distance at which a
    component has ``size`` points (``closed-form``; equal distances merge together, so the order of clients is
    irrelevant).  Both agree; the closed form needs no library.

    Args:
        distances: float64 ``[n, n]``, symmetric, non-negative, zero diagonal; any metric.
        size: smallest cluster, n/2 < size <= n.
        method: ``closed-form``, or ``hdbscan`` for the library.

    Returns:
        The members; all False when the library calls every point noise (never seen with these settings).
    """
    n = len(distances)
    if not n / 2 < size <= n:
        raise ValueError(f"cluster size {size}: must be above half of {n} points and at most {n}")
    if n < 3:
        return torch.ones(n, dtype=torch.bool)
    return _by_hdbscan(distances, size) if method == "hdbscan" else _by_single_linkage(distances, size)


def _by_hdbscan(distances: Tensor, size: int) -> Tensor:
    import hdbscan

    clusterer = hdbscan.HDBSCAN(
        metric="precomputed",
        min_cluster_size=size,
        min_samples=1,
        allow_single_cluster=True,
        cluster_selection_epsilon=0.0,
    )
    return torch.from_numpy(clusterer.fit_predict(distances.to(torch.float64).numpy()) == 0)


def _by_single_linkage(distances: Tensor, size: int) -> Tensor:
    n = len(distances)
    edges = sorted(spanning_tree(distances))
    component = list(range(n))
    members = {i: [i] for i in range(n)}
    done = float("inf")
    for distance, i, j in edges:
        if distance > done:
            break
        small, large = sorted((component[i], component[j]), key=lambda root: len(members[root]))
        for point in members[small]:
            component[point] = large
        members[large] += members.pop(small)
        if len(members[large]) >= size:
            done = distance  # go on with merges at the same distance only
    core = max(members.values(), key=len)
    accepted = torch.zeros(n, dtype=torch.bool)
    accepted[core] = True
    return accepted


def spanning_tree(distances: Tensor) -> list[tuple[float, int, int]]:
    """Edges of a minimum spanning tree (Prim), as (distance, i, j)."""
    n = len(distances)
    best, nearest = distances[0].clone(), torch.zeros(n, dtype=torch.int64)
    outside = torch.ones(n, dtype=torch.bool)
    outside[0] = False
    edges = []
    for _ in range(n - 1):
        left = outside.nonzero().flatten()  # and not an argmin over all: every point left may be infinitely far
        new = int(left[best[left].argmin()])
        edges.append((float(best[new]), int(nearest[new]), new))
        outside[new] = False
        closer = distances[new] < best
        best = torch.where(closer, distances[new], best)
        nearest[closer] = new
    return edges
