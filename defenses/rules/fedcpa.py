"""FEDCPA: honest clients agree on which parameters matter most and least."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from defenses.base import RULES, Aggregate, AggregationRule, ClientUpdates
from defenses.kernels.critical_parameters import Chosen, Correlation, Floats, extremes, likeness

EQUAL = 1e-9
"""Scores closer than this are equal."""


def weight_columns(updates: ClientUpdates) -> list[slice]:
    """Columns of the parameters of 2 or 4 dimensions (linear and convolution weights); all without such a layout."""
    slots = updates.server.slots
    found = [slice(slot.start, slot.stop) for slot in slots if len(slot.shape) in (2, 4)]
    return found or [slice(0, updates.matrix.shape[1])]


def trust_from_scores(scores: Floats) -> Floats:
    """Min-max scaling, cut to 0.01..0.99, logit + 0.5, cut to [0, 1]; all 1 when the scores are equal."""
    low, high = scores.min(), scores.max()
    if high - low <= EQUAL:
        return np.ones_like(scores)
    scaled = np.clip((scores - low) / (high - low), 0.01, 0.99)
    trust: Floats = np.clip(np.log(scaled / (1.0 - scaled)) + 0.5, 0.0, 1.0)
    return trust


@RULES.register("fedcpa")
class FedCPA(AggregationRule):
    """Weigh clients by how much their most and least important parameters agree with others' and with the model's.

    1. Importance q_i = |(w_i - w_t) * w_i| on weight tensors (2 or 4 dimensions); of the global model
       |(w_t - w_{t-1}) * w_t|, from the second round on.
    2. T_i, B_i = the ``fraction`` most and least important coordinates, at least one (of equal ones the first).
    3. sim(i, j) = mean over T and B of the Jaccard index plus mean over T and B of (rho + 1) / 2, rho = correlation
       of importances on the common coordinates; 0 with fewer than two of them or where one side is constant.
    4. score_i = (sum of sim(i, j) over the others) / n + sim(i, global); min-max scaled, cut to 0.01..0.99,
       weight_i = ln(s / (1 - s)) + 0.5 in [0, 1].
    5. delta = sum of weight_i * u_i over the number of clients of non-zero weight. Equal scores: equal weights.

    Min-max scaling gives the least agreeing client weight 0 in every round, attack or none. Norms are not bounded: a
    client that agrees is averaged however long its update is. The least important coordinates are often exact ties.
    """

    paper = ("han2023fedcpa", "and its public code")
    choices = ("fedcpa-likeness",)
    state_kept = "previous weights, float32 [d]"
    cost = "O(nd) partitions, sparse products of the chosen coordinates"
    traps = ("undefined correlations count as 0", "equal scores are equal weights")
    fraction: float = Field(0.01, gt=0.0, le=0.5, description="Share (fraction) of coordinates in each of T and B")
    correlation: Correlation = Field(
        "pearson", description="Of importances: pearson (public code), or spearman (ranks; pair by pair, slower)"
    )

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        """Aggregate one round. State: ``previous``, the weights of w_t that were looked at, float32.

        Diagnostics per client: ``score`` = 1 - scaled agreement (0..1; 0 for all when equal), ``trust`` = weight before
        it is divided by the sum, ``norm``. Facts: ``trusted``, ``compared_with_global`` 1 when the global model's own
        importance counted.
        """
        n = len(updates)
        columns = weight_columns(updates)
        now = torch.cat([updates.w_t[part] for part in columns]).cpu()
        previous = updates.state.get("previous")
        moved = previous is not None and not torch.equal(previous.cpu(), now)
        before = previous.cpu() if previous is not None and moved else None
        agreement = self._agreement(updates, columns, now, before)
        others = agreement[:n, :n]
        scores = (others.sum(axis=1) - others.diagonal()) / n
        if moved:
            scores = scores + agreement[:n, n]
        trust = torch.from_numpy(trust_from_scores(scores))
        trusted = int((trust > 0).sum())
        behind = scores.max() - scores
        spread = float(behind.max())
        return Aggregate(
            updates.weighted_sum(trust / max(1, trusted)),
            trust / trust.sum(),
            {
                "score": (behind / spread if spread > EQUAL else np.zeros(n)).tolist(),
                "trust": trust.tolist(),
                "norm": updates.norms.tolist(),
            },
            {"trusted": float(trusted), "compared_with_global": float(moved)},
            {"previous": now.clone()},
        )

    def _agreement(self, updates: ClientUpdates, columns: list[slice], now: Tensor, before: Tensor | None) -> Floats:
        """sim between all clients, and the global model as the last row where it moved."""
        d, vectors = len(now), len(updates) + (before is not None)
        k = max(1, int(self.fraction * d + 1e-9))
        chosen = [
            Chosen(np.empty((vectors, k), dtype=np.int32), np.empty((vectors, k)), d) for _ in range(2)
        ]  # top, bottom
        for row, importance in enumerate(_importances(updates, columns, now, before)):
            for kept, found in zip(chosen, extremes(importance, k), strict=True):
                kept.columns[row], kept.values[row] = found, importance[found]
        top, bottom = (likeness(kept, self.correlation) for kept in chosen)
        return (top + bottom) / 2.0


def _importances(updates: ClientUpdates, columns: list[slice], now: Tensor, before: Tensor | None) -> Iterator[Floats]:
    """Importance float64 ``[D]`` of each client, then of the global model: one vector, written anew each time."""
    start = now.to(torch.float64)
    update, importance = torch.empty_like(start), torch.empty_like(start)
    for row in updates.matrix:
        at = 0
        for part in columns:
            update[at : at + part.stop - part.start] = row[part]
            at += part.stop - part.start
        yield torch.add(start, update, out=importance).mul_(update).abs_().numpy()
    if before is not None:
        yield torch.sub(start, before, out=importance).mul_(start).abs_().numpy()
