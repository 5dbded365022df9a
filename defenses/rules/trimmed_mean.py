"""Coordinate-wise trimmed mean."""

from __future__ import annotations

from functools import partial

import torch

from defenses.base import RULES, Aggregate, ClientUpdates
from defenses.kernels.coordinates import by_coordinate_with_distances, inner_mean
from defenses.support.assumed_attackers import AssumesAttackers


@RULES.register("trimmed-mean")
class TrimmedMean(AssumesAttackers):
    """In every coordinate the f lowest and the f highest values are dropped, the others averaged without weights.

    Needs 2f < n; the largest f leaves the median.  Nobody is rejected as a whole: weights are equal shares, by which
    buffers are averaged.
    """

    paper = ("yin2018", "definition 2")
    choices = ("trimmed-mean-sum", "assumed-attackers")
    cost = "O(n log n) per column, in blocks"
    traps = ("sums what is kept, never total minus trimmed: one giant can't win",)
    condition = "2f < n is needed"

    @classmethod
    def largest_f(cls, n: int) -> int:
        """2f < n."""
        return (n - 1) // 2

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        """Aggregate one round. Keeps no state.

        Diagnostics per client: ``score`` = distance to the result (higher is more suspicious). Facts: ``f``.
        """
        f = self.attackers(updates)
        delta, distances = by_coordinate_with_distances(updates.matrix, partial(inner_mean, trim=f))
        everyone = torch.ones(len(updates), dtype=torch.bool)
        return Aggregate(delta, updates.equal_shares(everyone), {"score": distances.tolist()}, {"f": float(f)})
