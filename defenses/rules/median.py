"""Coordinate-wise median."""

from __future__ import annotations

import torch

from defenses.base import RULES, Aggregate, AggregationRule, ClientUpdates
from defenses.kernels.coordinates import by_coordinate_with_distances, middle


@RULES.register("median")
class Median(AggregationRule):
    """Median of every coordinate; an even number of clients averages the two middle values.

    Nobody is rejected: weights are equal shares, by which buffers are averaged, and every coordinate comes from one or
    two clients.  On skewed data the median of honest updates is shorter than their mean.
    """

    paper = ("yin2018", "definition 1")
    choices = ("median-even",)
    cost = "O(n log n) per column, in blocks"
    traps = ("even n averages the two middle values",)

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        """Aggregate one round. Keeps no state. Diagnostics per client: ``score`` = distance to the result."""
        delta, distances = by_coordinate_with_distances(updates.matrix, middle)
        everyone = torch.ones(len(updates), dtype=torch.bool)
        return Aggregate(delta, updates.equal_shares(everyone), {"score": distances.tolist()})
