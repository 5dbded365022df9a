"""FLAME: clustering by cosine, clipping to the median norm, noise."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from defenses.base import RULES, Aggregate, AggregationRule, ClientUpdates
from defenses.kernels.clipping import add_noise, clip_factors
from defenses.kernels.geometry import COSINE_ERROR, cosine_distances, median
from defenses.kernels.majority import Method, majority_cluster, majority_size
from defenses.kernels.privacy import NO_CLAIM
from defenses.kernels.ties import level_ties


@RULES.register("flame")
class Flame(AggregationRule):
    """Accept the majority cluster by cosine distance, clip to the median norm, average, add Gaussian noise.

    1. Pairwise cosine distances of the local models w_i = w_t + u_i, in float64 (whole weights of near-identical models
       differ by 1e-6 and less, which float32 can't tell from rounding); ``cosine_on = "updates"`` compares u_i.
    2. HDBSCAN on that matrix (precomputed metric), min_cluster_size n // 2 + 1, min_samples 1, one cluster allowed.
    3. S = median of ||u_i|| over ALL n clients, rejected ones included.
    4. delta = unweighted mean over accepted clients of u_i * min(1, S / ||u_i||).
    5. Every trainable parameter gets noise N(0, (noise * S)^2); batch-norm buffers get none.

    Fewer than three clients are all accepted.  For (eps, delta)-DP the paper's factor is sqrt(2 ln(1.25/delta)) / eps;
    the default is its empirical value for images.
    """

    paper = ("nguyen2022flame", "algorithm 1")
    choices = ("flame-clustering", "flame-bound", "flame-noise")
    cost = "O(n^2 d): one Gram pass, clustering O(n^2 log n), one weighted sum"
    traps = (
        "the norm bound is the median over all clients, not over the accepted ones",
        "HDBSCAN gets distances as such, not as features",
        "distances from a float64 Gram matrix: whole models differ by 1e-6",
        "noise is not scaled by a parameter's own deviation, and batch-norm buffers get none",
    )
    cosine_on: Literal["models", "updates"] = Field(
        "models", description="models: cosine of whole local models (paper); updates: of their differences"
    )
    clip: bool = Field(True, description="Clip accepted updates to the median norm of all")
    noise: float = Field(0.001, ge=0.0, description="lambda: noise deviation in units of the median norm")
    method: Method = Field("closed-form", description="Clustering: closed-form (single linkage, equal) or hdbscan")

    @property
    def privacy(self) -> str:
        """It promises none."""
        return NO_CLAIM if self.noise > 0.0 else ""

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        """Aggregate one round. Keeps no state.

        Diagnostics per client: ``score`` = mean cosine distance to the accepted clients (0..2, higher is more
        suspicious), ``norm``, ``clip`` = factor min(1, S/||u_i||). Facts: ``median_norm`` S, ``accepted``,
        ``all_noise`` 1 when the clustering accepted nobody and everyone was taken instead.
        """
        n = len(updates)
        norms = updates.norms
        distances = cosine_distances(updates.model_inner if self.cosine_on == "models" else updates.inner)
        accepted = majority_cluster(level_ties(distances, COSINE_ERROR), majority_size(n), self.method)
        all_noise = not bool(accepted.any())
        if all_noise:
            accepted = torch.ones_like(accepted)
        bound = median(norms)
        factors = clip_factors(norms, bound) if self.clip else torch.ones_like(norms)
        weights = updates.equal_shares(accepted)
        delta = updates.weighted_sum(weights * factors)
        add_noise(delta, self.noise * bound, updates.rng)
        score = distances[:, accepted].mean(1)
        return Aggregate(
            delta,
            weights,
            {"score": score.tolist(), "norm": norms.tolist(), "clip": factors.tolist()},
            {"median_norm": bound, "accepted": float(accepted.sum()), "all_noise": float(all_noise)},
        )
