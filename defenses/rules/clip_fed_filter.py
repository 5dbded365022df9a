"""CLIP-Fed's filter: PCA and HDBSCAN keep a majority cluster, then the sample-weighted mean of Eq. 2."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from defenses.base import RULES, Aggregate, AggregationRule, ClientUpdates
from defenses.kernels.geometry import FLOOR, principal_scores, rounding_errors, squared_distances
from defenses.kernels.majority import Method, majority_cluster, majority_size
from defenses.kernels.ties import level_ties
from defenses.kernels.weighting import sample_shares
from defenses.updates import without_giants


@dataclass(frozen=True)
class Embedding:
    """Updates in the space that is clustered."""

    inner: Tensor
    """Gram matrix float64 ``[k, k]`` of the scores (centred)."""
    components: int
    explained: float
    """Share (0..1) of the variance that the components hold; 1 when there is none at all."""
    slack: float
    """Squared distances no further apart than this are equal: what rounding may have done to them."""

    def distances(self) -> Tensor:
        """Euclidean distances float64 ``[k, k]``; equal ones are exactly tied."""
        return level_ties(squared_distances(self.inner), self.slack).sqrt()


def component_count(n: int) -> int:
    """Components r for n clients: min(10, max(2, n // 3)) up to n = 15, else min(10, n - 1).

    r = n - 1 keeps every distance, so PCA would do nothing; the first form avoids that for small rounds. Never above
    n - 1. See docs/choices.md#filter-components.
    """
    return max(0, min(n - 1, 10, max(2, n // 3) if n <= 15 else 10))


def embed_updates(inner: Tensor, components: int, explained_variance: float = 0.0, *, error: float = 0.0) -> Embedding:
    """Keep the first ``components`` principal components of a centred Gram matrix ``[k, k]``.

    With ``explained_variance`` > 0 it is as many components as reach that share of the variance instead. k - 1
    components hold everything: the Gram matrix is returned as it is.

    Components of the variance of the last one kept are kept as well: among equal variances an eigendecomposition
    picks directions by the order of the rows.  ``error`` is what rounding may have done to an entry, where that is
    more than it does to a product of rows as long as these.
    """
    error = max(error, float(rounding_errors(inner).max()))
    scores, variances = principal_scores(inner)
    total = float(variances.sum())
    kept = min(components, len(inner) - 1)
    if explained_variance > 0.0 and total > 0.0:
        reached = variances.cumsum(0) / total >= explained_variance - 1e-12
        kept = min(int(reached.int().argmax()) + 1 if bool(reached.any()) else len(inner), len(inner) - 1)
    kept = whole_levels(variances, kept, error)
    if kept >= len(inner) - 1:
        return Embedding(inner, max(0, len(inner) - 1), 1.0, error)
    used = scores[:, :kept]
    explained = float(variances[:kept].sum()) / total if total > 0.0 else 1.0
    return Embedding(used @ used.T, kept, explained, error * _mixing(variances, kept))


def whole_levels(variances: Tensor, kept: int, error: float = 0.0) -> int:
    """At least ``kept`` of the falling variances ``[k]``: so many that no two equal ones are parted."""
    noise = max(error, 8 * len(variances) * torch.finfo(torch.float64).eps * float(variances.max()))
    while 0 < kept < len(variances) and noise < float(variances[kept - 1]) <= float(variances[kept]) + noise:
        kept += 1
    return kept


def _mixing(variances: Tensor, kept: int) -> float:
    """How much an error of the Gram matrix grows where components end at a small gap: variance / gap, at least 1."""
    last, gap = float(variances[kept - 1]), float(variances[kept - 1] - variances[kept])
    return last / gap if gap > 0.0 else 1.0


@RULES.register("clip-fed-filter")
class ClipFedFilter(AggregationRule):
    """PCA of the updates, HDBSCAN, then the sample-weighted mean of the majority cluster.

    1. Centre the updates; principal components by the n x n Gram matrix in float64. Centring makes updates and whole
       local models equivalent. Auto takes min(10, max(2, n // 3)) components up to 15 clients, else min(10, n - 1).
    2. HDBSCAN on Euclidean distances of the scores, min_cluster_size n // 2 + 1, min_samples 1, one cluster allowed,
       or its closed form (same result).
    3. Accepted clients are averaged with weights D_i / sum of accepted D_j.

    Where the library calls every client noise, everyone is accepted and the fact ``all_noise`` is 1. Fewer than three
    clients are all accepted. An update over 10,000 times longer than the median is rejected before PCA: one such row
    would drown the other clients' distances in rounding errors, which a second attacker could hide behind.

    At most n - (n // 2 + 1) clients are dropped; where a tighter majority exists, honest outliers (skewed clients) are
    dropped first. Attackers close together may form its core.
    """

    paper = ("gai2025clipfed", "Dynamic Model Filtering by Clustering, and Eq. 2")
    choices = ("filter-components", "filter-clustering", "giants")
    cost = "O(n^2 d): one Gram pass, O(n^3) for principal components, clustering O(n^2 log n), one weighted sum"
    traps = (
        "one cluster is allowed: otherwise every client is noise",
        "min_samples 1: the library's default drops good clients and keeps far ones",
        "components from the n x n Gram matrix in float64, never d x d",
        "one giant update can't drown the others' distances",
    )
    pca_components: int = Field(0, ge=0, description="Principal components; 0 = auto by the number of clients")
    explained_variance: float = Field(
        0.0, ge=0.0, le=1.0, description="Use as many components as hold this share (fraction) of variance; 0 = off"
    )
    normalise: bool = Field(False, description="Scale every update to length 1 before PCA")
    method: Method = Field("closed-form", description="Clustering: closed-form (single linkage, equal) or hdbscan")
    max_weight: float = Field(1.0, gt=0.0, le=1.0, description="Cap (fraction) on one client's share of the mean")

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        """Aggregate one round. Keeps no state.

        Diagnostics per client: ``score`` = distance to the accepted clients' centre among the scores (higher is more
        suspicious; the norm for a client rejected before PCA), ``norm``. Facts: ``accepted``, ``components``,
        ``explained_variance`` (0..1), ``giants`` = clients rejected before PCA, ``all_noise``.
        """
        n = len(updates)
        norms = updates.norms
        usable = torch.ones_like(norms, dtype=torch.bool) if self.normalise else without_giants(norms)
        rows = usable.nonzero().flatten()
        inner, error = self._inner(updates, rows)
        components = self.pca_components or component_count(n)
        embedding = embed_updates(inner, components, self.explained_variance, error=error)
        members = majority_cluster(embedding.distances(), majority_size(n), self.method)
        all_noise = not bool(members.any())
        if all_noise:
            members = torch.ones_like(members)
        accepted = torch.zeros(n, dtype=torch.bool)
        accepted[rows[members]] = True
        score = norms.clone()
        score[rows] = distance_to_centre(embedding.inner, members, error=error)
        weights = sample_shares(updates.num_examples, accepted, self.max_weight)
        facts = {
            "accepted": float(accepted.sum()),
            "components": float(embedding.components),
            "explained_variance": embedding.explained,
            "giants": float(n - len(rows)),
            "all_noise": float(all_noise),
        }
        diagnostics = {"score": score.tolist(), "norm": norms.tolist()}
        return Aggregate(updates.weighted_sum(weights), weights, diagnostics, facts)

    def _inner(self, updates: ClientUpdates, rows: Tensor) -> tuple[Tensor, float]:
        """Centred Gram matrix of the rows, and what rounding may have done to its entries beside its own scale."""
        whole = len(rows) == len(updates)
        if not self.normalise:
            return (updates.centred_inner if whole else updates.centred_inner_among(rows)), 0.0
        scale = updates.norms.clamp(min=FLOOR)
        inner = updates.inner / scale[:, None] / scale[None, :]  # nobody is left out when lengths don't count
        centred = inner - inner.mean(0) - inner.mean(1, keepdim=True) + inner.mean()
        return centred, float(rounding_errors(inner).max())


def distance_to_centre(inner: Tensor, members: Tensor, *, error: float = 0.0) -> Tensor:
    """Distance ``[k]`` of every row to the mean of the member rows, from the Gram matrix; 0 where that is rounding.

    ``error`` as in :func:`embed_updates`.
    """
    core = inner[:, members]
    squares = inner.diagonal() - 2.0 * core.mean(1) + core[members].mean()
    return squares.masked_fill(squares <= max(error, float(rounding_errors(inner).max())), 0.0).sqrt()
