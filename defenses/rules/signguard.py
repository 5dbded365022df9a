"""SignGuard: clients whose updates have an ordinary length and an ordinary mix of signs."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from defenses.base import RULES, Aggregate, AggregationRule, ClientUpdates, State
from defenses.kernels.clipping import clip_factors
from defenses.kernels.geometry import median
from defenses.support.client_memory import id_order

OUTSIDE = 2.0
"""Added to the score of a client outside the norm band: more than any two feature vectors are apart."""
NEAR, NEIGHBOURS = 0.05, 2
"""DBSCAN's radius and least neighbourhood."""


def sign_fractions(block: Tensor) -> Tensor:
    """Fractions of positive, zero and negative coordinates of each row of ``[n, k]``: float64 ``[n, 3]``."""
    # a row at a time: counting along a dimension would first make an int64 of every truth value
    positive = torch.stack([(row > 0).count_nonzero() for row in block]).cpu()
    negative = torch.stack([(row < 0).count_nonzero() for row in block]).cpu()
    counts = torch.stack([positive, block.shape[1] - positive - negative, negative], dim=1)
    return counts.to(torch.float64) / block.shape[1]


def by_column_maximum(features: Tensor) -> Tensor:
    """Every column divided by its largest value; a column of zeros stays as it is."""
    largest = features.max(0).values
    return features / torch.where(largest > 0, largest, torch.ones_like(largest))


def mean_shift(points: NDArray[np.float64], bandwidth: float, *, bin_seeding: bool) -> NDArray[np.int64]:
    """Labels ``[n]`` by flat-kernel mean shift of points ``[n, m]``; -1 = further than ``bandwidth`` from every centre.

    Searches for centres start at every point, or with ``bin_seeding`` at the corners of a grid of that spacing which
    points are rounded to: fewer starts, and other centres.  Should no corner have a point in reach (rounding in four
    dimensions can do that), or be shared, the points are starts after all.
    """
    from sklearn.cluster import MeanShift

    if bin_seeding:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # no corner is shared
                return _fitted(MeanShift(bandwidth=bandwidth, cluster_all=False, bin_seeding=True), points)
        except ValueError:  # nobody near a corner
            pass
    return _fitted(MeanShift(bandwidth=bandwidth, cluster_all=False), points)


def _fitted(clusterer: Any, points: NDArray[np.float64]) -> NDArray[np.int64]:
    labels: NDArray[np.int64] = clusterer.fit(points).labels_
    return labels


def largest_cluster(
    features: Tensor, clustering: Literal["mean-shift", "dbscan"], *, bin_seeding: bool = True
) -> Tensor:
    """Members, bool ``[n]``, of the largest cluster of feature vectors; nobody when all are noise.

    Mean shift with a flat kernel: the bandwidth is the mean distance to the neighbour at quantile 0.5; a point further
    than that from every centre belongs to none. A bandwidth of 0 (few points, or more than half in one place) leaves
    it to DBSCAN(0.05, 2). Of equally large clusters the first counts: mean shift puts the denser one first, DBSCAN
    that of the first point. ``bin_seeding`` as in :func:`mean_shift`.
    """
    from sklearn.cluster import DBSCAN, estimate_bandwidth

    points = features.numpy()
    bandwidth = 0.0
    if clustering == "mean-shift":
        bandwidth = float(estimate_bandwidth(points, quantile=0.5)) * (1.0 + 1e-9)  # at the bandwidth is within it
    if bandwidth > 1e-12:
        labels = mean_shift(points, bandwidth, bin_seeding=bin_seeding)
    else:
        labels = DBSCAN(eps=NEAR, min_samples=NEIGHBOURS).fit(points).labels_
    found = torch.from_numpy(labels).to(torch.int64)
    if not bool((found >= 0).any()):
        return torch.zeros(len(found), dtype=torch.bool)
    return found == int(found[found >= 0].bincount().argmax())


@RULES.register("signguard")
class SignGuard(AggregationRule):
    """Accept updates of ordinary length whose share of positive, zero and negative coordinates is the common one.

    1. Norm band: ``lowest`` < ||u_i|| / median < ``highest``.
    2. A contiguous block of ``share`` of all coordinates at a random offset; features of a client: its fractions of
       +, 0 and - there, each divided by the largest among the clients.
    3. Mean shift (bandwidth by quantile 0.5; DBSCAN where that is 0): the largest cluster. ``bin_seeding`` starts it
       at the corners of a grid, as the public code does; the paper doesn't say. Starts at every point end in other
       centres, and accept other clients, in about every fifth round of ordinary updates.
    4. delta = unweighted mean over clients who pass both of u_i * min(1, S / ||u_i||), S = median norm of all. Nobody
       passes both: the norm band alone decides.

    Only signs are judged: attacks that keep them pass. The bandwidth shrinks with the crowd, so honest clients at its
    edge are dropped in most rounds.
    """

    paper = ("xu2022signguard", "SignGuard, and its public code")
    choices: ClassVar[tuple[str, ...]] = ("signguard-features", "signguard-clusters")
    cost = "O(nd) norms, O(n share d) signs, mean shift O(n^2)"
    traps: ClassVar[tuple[str, ...]] = (
        "the norm band acts before anything is clipped",
        "a random block, drawn from the run's generator",
        "mean shift started at bins, as in public code, finds other clusters than started at every point",
    )
    lowest: float = Field(0.1, ge=0.0, lt=1.0, description="Shortest accepted update, in median norms")
    highest: float = Field(3.0, ge=2.0, description="Longest accepted update, in median norms")
    share: float = Field(0.1, gt=0.0, le=1.0, description="Share (fraction) of the coordinates whose signs are counted")
    clustering: Literal["mean-shift", "dbscan"] = Field("mean-shift", description="Clustering of the sign features")
    bin_seeding: bool = Field(True, description="Start mean shift at bins of points (public code), not at every point")

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        """Aggregate one round.

        Diagnostics per client: ``score`` = distance of its features to the mean of the accepted ones, plus 2 outside
        the norm band; ``norm``, ``clip`` = factor min(1, S / ||u_i||). Facts: ``median_norm`` S, ``in_band``,
        ``in_cluster``, ``accepted``, ``offset`` = first coordinate of the block.
        """
        norms = updates.norms.cpu()
        middle = median(norms)
        in_band = torch.ones_like(norms, dtype=torch.bool)
        if middle > 0.0:
            in_band = (norms > self.lowest * middle) & (norms < self.highest * middle)
        features, offset = self._features(updates)
        order = id_order(updates.ids)
        in_cluster = torch.empty_like(in_band)
        in_cluster[order] = largest_cluster(features[order], self.clustering, bin_seeding=self.bin_seeding)
        accepted = in_band & in_cluster
        if not bool(accepted.any()):
            accepted = in_band
        factors = clip_factors(norms, middle)
        weights = updates.equal_shares(accepted)
        delta = updates.weighted_sum(weights * factors)
        score = (features - features[accepted].mean(0)).norm(dim=1) + OUTSIDE * ~in_band
        facts = {
            "median_norm": middle,
            "in_band": float(in_band.sum()),
            "in_cluster": float(in_cluster.sum()),
            "accepted": float(accepted.sum()),
            "offset": float(offset),
        }
        diagnostics = {"score": score.tolist(), "norm": norms.tolist(), "clip": factors.tolist()}
        return Aggregate(delta, weights, diagnostics, facts, self.new_state(delta))

    def _features(self, updates: ClientUpdates) -> tuple[Tensor, int]:
        d = updates.matrix.shape[1]
        size = max(1, int(self.share * d))
        offset = int(torch.randint(0, d - size + 1, (1,), generator=updates.rng))
        signs = by_column_maximum(sign_fractions(updates.matrix[:, offset : offset + size]))
        return torch.cat([signs, self.more_features(updates)], dim=1), offset

    def more_features(self, updates: ClientUpdates) -> Tensor:
        """Features beside the signs, float64 ``[n, m]``."""
        return torch.zeros(len(updates), 0, dtype=torch.float64)

    def new_state(self, delta: Tensor) -> State:
        """What to remember of this round's aggregate."""
        return {}
