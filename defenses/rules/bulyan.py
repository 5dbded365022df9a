"""Bulyan: repeated Krum, then per coordinate the mean of the values closest to the median."""

from __future__ import annotations

from functools import partial

import torch

from defenses.base import RULES, Aggregate, ClientUpdates
from defenses.kernels.coordinates import by_coordinate, mean_near_median
from defenses.support.assumed_attackers import AssumesAttackers
from defenses.support.krum_selection import Neighbourhood


@RULES.register("bulyan")
class Bulyan(AssumesAttackers):
    """Select theta = n - 2f updates by repeated Krum, then average the beta = theta - 2f values closest to the median.

    1. Krum's choice among n updates is selected and leaves; Krum's choice among the n - 1 left follows, and so on,
       theta times.  (Taking the theta best of one scoring is another rule.)
    2. In every coordinate the median of the theta selected values is taken, then the plain mean of the beta values
       closest to it; of two that are as far, the lower.

    The neighbours of Krum's scores, n - f - 2, shrink with the set: the last choice is among 2f + 1 updates, by f - 1
    neighbours.  At f = 1 there is no such neighbour, and all three would score 0.  There the nearest other update
    counts: the two closest to each other score alike, and the lower client id of them is selected.  The paper leaves
    that case open; the authors' code never comes to it (it takes n - 2f - 2 means by Multi-Krum from one scoring).  At
    f = 0 everybody is selected.

    Needs n >= 4f + 3, so at least three clients; fewer keep the model.  f = 0 is the plain mean.  Giants (over 10,000
    times longer than the median) are never selected; where fewer than theta others are left, theta is their number.
    """

    paper = ("elmhamdi2018bulyan", "")
    choices = ("bulyan-selection", "bulyan-last-choice", "assumed-attackers")
    cost = "O(n^2 d): one Gram pass, O(n^2 theta) selection, then O(n log n) per column"
    traps = (
        "the winner is removed before Krum runs again",
        "indices of the full set: nobody is selected twice",
        "beta = theta - 2f, so that something is trimmed",
        "at f = 1 the last choice has n - f - 2 = 0 neighbours: the nearest one counts, not the client id",
    )
    min_clients = 3
    condition = "n >= 4f + 3 is needed"

    @classmethod
    def largest_f(cls, n: int) -> int:
        """n >= 4f + 3."""
        return (n - 3) // 4

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        """Aggregate one round. Keeps no state.

        Diagnostics per client: ``score`` = Krum score among all n (higher is more suspicious). Facts: ``f``,
        ``accepted`` = theta, ``beta``.
        """
        f, n = self.attackers(updates), len(updates)
        near = Neighbourhood.of(updates)
        chosen = sorted(near.repeatedly(f, n - 2 * f))
        beta = max(1, len(chosen) - 2 * f)
        delta = by_coordinate(updates.matrix, partial(mean_near_median, keep=beta), torch.tensor(chosen))
        accepted = torch.zeros(n, dtype=torch.bool)
        accepted[chosen] = True
        return Aggregate(
            delta,
            updates.equal_shares(accepted),
            {"score": near.scores_of_all(f).tolist()},
            {"f": float(f), "accepted": float(len(chosen)), "beta": float(beta)},
        )
