"""HDBSCAN on a distance matrix, with equal distances treated alike: the order of the points is irrelevant."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from defenses.kernels.majority import spanning_tree

NOISE = -1


@dataclass(eq=False)
class _Merge:
    """Points that are connected from ``distance`` on; ``parts`` are what they consisted of just below it."""

    points: list[int]
    distance: float = 0.0
    parts: list[_Merge] = field(default_factory=list)


@dataclass(eq=False)
class _Cluster:
    """A component of at least the smallest size, from its birth on until it falls apart."""

    points: list[int]
    stability: float
    children: list[_Cluster]


def density_clusters(distances: Tensor, min_cluster_size: int = 2, min_samples: int = 1) -> Tensor:
    """Cluster labels int64 ``[n]`` by HDBSCAN (excess of mass, the whole set is no cluster); -1 = noise.

    campello2013hdbscan: mutual reachability max(d_ij, core_i, core_j) with core = distance to the ``min_samples``-th
    neighbour; single linkage; components below ``min_cluster_size`` count as points falling out of their parent; the
    clusters of largest total stability, sum over points of 1/d_left - 1/d_born, are taken.

    All merges at one distance happen at once, where the common library splits them into pairs in the order in which it
    meets them: for distances without ties both agree, with ties only this form doesn't depend on that order.  Labels
    are numbered by their lowest point.

    Args:
        distances: ``[n, n]``, symmetric, non-negative, zero diagonal; any metric.
        min_cluster_size: smallest cluster, at least 2.
        min_samples: neighbours that a core point needs, at least 1.
    """
    n = len(distances)
    if min_cluster_size < 2 or min_samples < 1:
        raise ValueError(f"min_cluster_size {min_cluster_size} must be >= 2 and min_samples {min_samples} >= 1")
    labels = torch.full((n,), NOISE, dtype=torch.int64)
    if n < min_cluster_size:
        return labels
    reachable = _mutual_reachability(distances.to("cpu", torch.float64), min(min_samples, n - 1))
    roots = _fall_apart(_dendrogram(reachable), 0.0, min_cluster_size).children
    chosen = sorted((cluster for root in roots for cluster in _most_stable(root)[1]), key=lambda c: min(c.points))
    for label, cluster in enumerate(chosen):
        labels[cluster.points] = label
    return labels


def together(labels: Tensor) -> Tensor:
    """Co-membership bool ``[n, n]``: True for points of one cluster; a noise point shares one with itself only."""
    same = (labels[:, None] == labels[None, :]) & (labels != NOISE)[:, None]
    return same | torch.eye(len(labels), dtype=torch.bool)


def _mutual_reachability(distances: Tensor, neighbours: int) -> Tensor:
    core = distances.sort(dim=1).values[:, neighbours]  # column 0 is the point itself
    return torch.maximum(distances, torch.maximum(core[:, None], core[None, :]))


def _dendrogram(reachable: Tensor) -> _Merge:
    """Single linkage from the leaves up; components that merge at the same distance become parts of one merge."""
    tops = [_Merge([i]) for i in range(len(reachable))]
    edges = sorted(spanning_tree(reachable))
    start = 0
    while start < len(edges):
        stop = start
        while stop < len(edges) and edges[stop][0] == edges[start][0]:
            stop += 1
        merged: list[_Merge] = []
        for _, i, j in edges[start:stop]:
            a, b = tops[i], tops[j]
            joined = _Merge([], edges[start][0])
            for part in (a, b):
                joined.parts += part.parts if part in merged else [part]
            joined.points = a.points + b.points
            merged = [m for m in merged if m is not a and m is not b] + [joined]
            for point in joined.points:
                tops[point] = joined
        start = stop
    return tops[0]


def _fall_apart(node: _Merge, born: float, smallest: int) -> _Cluster:
    """Follow one cluster from its birth (as 1/distance) through rising density until it splits or dissolves."""
    cluster = _Cluster(node.points, 0.0, [])
    while True:
        density = 1.0 / node.distance if node.distance > 0.0 else float("inf")
        large = [part for part in node.parts if len(part.points) >= smallest]
        leaving = len(node.points) - (len(large[0].points) if len(large) == 1 else 0)
        cluster.stability += leaving * (density - born)
        if len(large) == 1:
            node = large[0]
            continue
        cluster.children = [_fall_apart(part, density, smallest) for part in large]
        return cluster


def _most_stable(cluster: _Cluster) -> tuple[float, list[_Cluster]]:
    below = [_most_stable(child) for child in cluster.children]
    total = sum(stability for stability, _ in below)
    if below and total > cluster.stability:
        return total, [chosen for _, found in below for chosen in found]
    return cluster.stability, [cluster]
