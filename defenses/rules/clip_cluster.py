"""ClippedClustering: clip to the norms seen so far, keep the larger of two clusters by cosine."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from defenses.base import RULES, Aggregate, AggregationRule, ClientUpdates
from defenses.kernels.clipping import clip_factors
from defenses.kernels.geometry import COSINE_ERROR, FLOOR, cosine_distances, cosines, median
from defenses.kernels.linkage import merge_tree
from defenses.kernels.ties import level_ties
from defenses.support.client_memory import id_order


def direction_distances(inner: Tensor) -> Tensor:
    """1 - cosine from a Gram matrix; a zero update, which has no direction, is at 2 from every update that has one."""
    distances = cosine_distances(inner)
    empty = inner.diagonal() <= FLOOR**2
    distances[empty] = 2.0
    distances[:, empty] = 2.0
    distances[empty.nonzero(), empty.nonzero().flatten()] = 0.0
    return distances


def larger_cluster(distances: Tensor, similar: Tensor) -> Tensor:
    """Members, bool ``[n]``, of the larger of two clusters by average linkage.

    Of two equally large ones it is that of the larger mean similarity between its members; when these agree too, both.
    Equal distances are merged in the order of the points.  Fewer than three points, and points that all coincide, are
    one cluster.
    """
    n = len(distances)
    tree = merge_tree(level_ties(distances, COSINE_ERROR), "average")
    if n < 3 or tree.height(tree.root) == 0.0:
        return torch.ones(n, dtype=torch.bool)
    left, right = (tree.members(child) for child in tree.children(tree.root))
    more, fewer = (left, right) if left.sum() >= right.sum() else (right, left)
    if more.sum() > fewer.sum():
        return more
    apart = _mean_similarity(similar, more) - _mean_similarity(similar, fewer)
    if abs(apart) <= 1e-12:
        return torch.ones(n, dtype=torch.bool)
    return more if apart > 0 else fewer


def _mean_similarity(similar: Tensor, members: Tensor) -> float:
    size = int(members.sum())
    inside = similar[members][:, members]
    return float((inside.sum() - inside.diagonal().sum()) / max(1, size * (size - 1)))


@RULES.register("clip-cluster")
class ClipCluster(AggregationRule):
    """Clip updates to the median of all norms ever seen, average the larger of two cosine clusters.

    1. S = median of the norms of all clients in all rounds so far, this one included.
    2. Cosine distances of the updates; agglomerative clustering, average linkage, two clusters. A zero update is at
       distance 2 from any that isn't.
    3. delta = unweighted mean over the larger cluster of u_i * min(1, S / ||u_i||). Of two equally large clusters
       the one of the larger mean similarity counts.

    Two clusters are always made: somebody is rejected in every round of three or more clients who don't all agree,
    attack or none. Equal distances are merged in the order of client ids. Attackers who send larger updates early
    raise S for good.
    """

    paper = ("li2023clippedclustering", "ClippedClustering, as far as known")
    choices = ("clip-cluster-history",)
    state_kept = "norms of all clients in all rounds, ascending"
    cost = "O(n^2 d): one Gram pass, average linkage O(n^2)"
    traps = ("a zero update has no direction: it is at distance 2, never NaN",)
    clip: bool = Field(True, description="Clip updates to the median of all norms seen so far")

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        """Aggregate one round. State: ``norms`` float64, all norms seen so far in ascending order.

        Diagnostics per client: ``score`` = mean distance to the accepted clients (0..2), ``norm``, ``clip`` = factor
        min(1, S / ||u_i||). Facts: ``bound`` S, ``accepted``.
        """
        norms = updates.norms.cpu()
        seen = torch.cat([updates.state["norms"].cpu(), norms]) if "norms" in updates.state else norms
        bound = median(seen)
        order, inner = id_order(updates.ids), updates.inner.cpu()
        distances = direction_distances(inner)
        accepted = torch.empty(len(updates), dtype=torch.bool)
        accepted[order] = larger_cluster(distances[order][:, order], cosines(inner)[order][:, order])
        factors = clip_factors(norms, bound) if self.clip else torch.ones_like(norms)
        weights = updates.equal_shares(accepted)
        score = distances[:, accepted].mean(1)
        return Aggregate(
            updates.weighted_sum(weights * factors),
            weights,
            {"score": score.tolist(), "norm": norms.tolist(), "clip": factors.tolist()},
            {"bound": bound, "accepted": float(accepted.sum())},
            {"norms": seen.sort().values},
        )
