"""FreqFed: the majority by the low frequencies of the models' weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from defenses.base import RULES, Aggregate, AggregationRule, ClientUpdates
from defenses.kernels.geometry import COSINE_ERROR, cosine_distances, gram
from defenses.kernels.majority import Method, majority_cluster, majority_size
from defenses.kernels.ties import level_ties
from defenses.kernels.weighting import sample_shares

HELD = 0.2
"""Coefficients held at a time, as a share of the updates' own memory; a longer layer is transformed once per band."""
TOGETHER = 2**18
"""Numbers that are transformed in one call, at least one row."""
LARGE = 1e30
"""Rows longer than this are scaled down before float32 could overflow in the transform."""


def low_frequencies(rows: Tensor, kept: slice, scale: Tensor | None = None) -> Tensor:
    """Coefficients ``kept`` of the orthonormal DCT-II of each row of ``[m, l]`` over ``scale [m]``: float32, CPU."""
    from scipy.fft import dct

    rows = rows.cpu()
    if scale is not None and bool((scale != 1.0).any()):
        rows = (rows.to(torch.float64) / scale[:, None]).to(rows.dtype)
    return torch.from_numpy(dct(rows.numpy(), axis=1, norm="ortho")[:, kept])


def low_frequency_inner(updates: ClientUpdates, share: float, *, of_models: bool) -> Tensor:
    """Gram matrix float64 ``[n, n]`` of the low frequencies of updates, or of local models w_t + u_i.

    Every layer is transformed by itself and keeps its first ``share`` of coefficients, at least one. The transform is
    linear, so that of a model is that of w_t plus that of the update, added up in float64 only here.
    """
    n, norms = len(updates), updates.norms.cpu()
    scale = torch.where(norms > LARGE, norms, torch.ones_like(norms))
    inner = torch.zeros(n + of_models, n + of_models, dtype=torch.float64)
    for layer, band in _bands(updates, share):
        held = torch.empty(n + of_models, band.stop - band.start)
        together = max(1, TOGETHER // (layer.stop - layer.start))
        for start in range(0, n, together):
            rows = slice(start, min(start + together, n))
            held[rows] = low_frequencies(updates.matrix[rows, layer], band, scale[rows])
        if of_models:
            held[n] = low_frequencies(updates.w_t[None, layer], band)[0]
        inner += gram(held)
    inner[:n] *= scale[:, None]
    inner[:, :n] *= scale
    if not of_models:
        return inner
    to_model = inner[:n, n]
    return inner[:n, :n] + to_model[:, None] + to_model[None, :] + inner[n, n]


def _bands(updates: ClientUpdates, share: float) -> Iterator[tuple[slice, slice]]:
    """Columns of each layer, and which of its coefficients to hold at a time."""
    most = HELD * updates.matrix.shape[1]
    for layer in updates.layers:
        kept = math.ceil(share * (layer.stop - layer.start))
        width = math.ceil(kept / math.ceil(kept / most))
        for first in range(0, kept, width):
            yield layer, slice(first, min(first + width, kept))


@RULES.register("freqfed")
class FreqFed(AggregationRule):
    """Accept the majority cluster by the cosine of the models' low-frequency parts, then FedAvg.

    1. Orthonormal one-dimensional DCT-II of each layer of w_t + u_i, flattened in the model's own order; the first
       ``low_share`` of the coefficients of each layer, all layers behind one another.
    2. Pairwise cosine distances, in float64; HDBSCAN on them (precomputed metric), min_cluster_size n // 2 + 1,
       min_samples 1, one cluster allowed.
    3. delta = mean of the accepted updates weighted by examples. No clipping, no noise.

    Fewer than three clients are all accepted. What a low frequency is depends on the order in which a layer's
    parameters are stored, which is arbitrary; per layer, half of the coefficients, and FLAME's clustering are
    assumptions. Being orthonormal, the transform leaves lengths alone: ``low_share`` 1 is FLAME's clustering.
    """

    paper = ("fereidooni2024freqfed", "as far as known")
    choices = ("freqfed-transform",)
    cost = "O(n d log d) transforms and O(n^2 d): one Gram pass"
    traps = ("per layer: a long vector of everything has no frequencies",)
    low_share: float = Field(0.5, gt=0.0, le=1.0, description="Share (fraction) of each layer's coefficients kept")
    cosine_on: Literal["models", "updates"] = Field(
        "models", description="models: transform whole local models (paper); updates: their differences"
    )
    method: Method = Field("closed-form", description="Clustering: closed-form (single linkage, equal) or hdbscan")
    max_weight: float = Field(1.0, gt=0.0, le=1.0, description="Cap (fraction) on one client's share of the mean")

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        """Aggregate one round. Keeps no state.

        Diagnostics per client: ``score`` = mean distance to the accepted clients (0..2), ``norm``. Facts:
        ``accepted``, ``all_noise`` 1 when the clustering accepted nobody and everyone was taken instead.
        """
        inner = low_frequency_inner(updates, self.low_share, of_models=self.cosine_on == "models")
        distances = cosine_distances(inner)
        tied = level_ties(distances, COSINE_ERROR)
        accepted = majority_cluster(tied, majority_size(len(updates)), self.method)
        all_noise = not bool(accepted.any())
        if all_noise:
            accepted = torch.ones_like(accepted)
        weights = sample_shares(updates.num_examples, accepted, self.max_weight)
        return Aggregate(
            updates.weighted_sum(weights),
            weights,
            {"score": distances[:, accepted].mean(1).tolist(), "norm": updates.norms.tolist()},
            {"accepted": float(accepted.sum()), "all_noise": float(all_noise)},
        )
