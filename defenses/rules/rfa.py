"""RFA: the geometric median, by smoothed Weiszfeld steps."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from defenses.base import RULES, Aggregate, AggregationRule, ClientUpdates
from defenses.kernels.weighting import sample_shares

MOST_STEPS = 100_000
"""Where "until it converges" ends all the same."""
STILL = 1e-12
"""A step that moves less than this share of the mean distance has converged."""


@RULES.register("rfa")
class Rfa(AggregationRule):
    """Approximate geometric median: the z that minimises sum alpha_i ||u_i - z||, alpha_i = D_i / sum D.

    Starting from the weighted mean, z <- sum b_i u_i / sum b_i with b_i = alpha_i / max(nu, ||u_i - z||).  z is always
    a weighted mean of the updates, so every distance follows from their Gram matrix and a step costs n^2, not n d.

    Four steps, as published, are not the median: an outlier's pull shrinks about (n - 1)-fold a step.  So giants (over
    10,000 times longer than the median update) get weight 0 before the first; ``iterations = 0`` goes on until it
    converges.  The exact median tolerates attackers with less than half of the weight.  Clients claim their weight
    themselves: see ``max_weight``.
    """

    paper = ("pillutla2022rfa", "smoothed Weiszfeld algorithm")
    choices = ("rfa-steps", "giants")
    cost = "O(n^2 d): one Gram pass, iterations O(n^2)"
    traps = ("starts from the weighted mean, not from zero",)
    iterations: int = Field(4, ge=0, description="Weiszfeld steps; 0 = until it converges")
    nu: float = Field(1e-6, gt=0.0, description="Smallest distance that a weight is divided by")
    max_weight: float = Field(1.0, gt=0.0, le=1.0, description="Cap (fraction) on one client's alpha")

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        """Aggregate one round. Keeps no state.

        Diagnostics per client: ``score`` = distance to the result (higher is more suspicious; the norm for a giant),
        ``norm``. Facts: ``steps``, ``objective`` = sum alpha_i ||u_i - z||, ``giants``.
        """
        norms, usable = updates.norms, updates.no_giants
        rows = usable.nonzero().flatten()
        whole = len(rows) == len(updates)
        inner = updates.centred_inner if whole else updates.centred_inner_among(rows)
        alpha = sample_shares(updates.num_examples, usable, self.max_weight)
        shares, distances, steps = self._weiszfeld(inner, alpha[rows])
        weights = torch.zeros_like(alpha)
        weights[rows] = shares
        score = norms.clone()
        score[rows] = distances
        return Aggregate(
            updates.weighted_sum(weights),
            weights,
            {"score": score.tolist(), "norm": norms.tolist()},
            {
                "steps": float(steps),
                "objective": float(alpha[rows] @ distances),
                "giants": float(len(updates) - len(rows)),
            },
        )

    def _weiszfeld(self, inner: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor, int]:
        """Shares of the result, the distance of every row to it, and the steps taken."""
        shares, steps = alpha, 0
        distances = _distances(inner, shares)
        while steps < (self.iterations or MOST_STEPS):
            pull = alpha / distances.clamp(min=self.nu)
            before, shares = shares, pull / pull.sum()
            steps += 1
            distances = _distances(inner, shares)
            moved = shares - before
            if self.iterations == 0 and float(moved @ inner @ moved) <= (STILL * float(alpha @ distances)) ** 2:
                break
        return shares, distances, steps


def _distances(inner: Tensor, shares: Tensor) -> Tensor:
    """Distance ``[k]`` of every row to the rows' mean by ``shares`` (which sum to 1), from their Gram matrix."""
    towards = inner @ shares
    return (inner.diagonal() - 2.0 * towards + shares @ towards).clamp(min=0.0).sqrt()
