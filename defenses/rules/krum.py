"""Krum: the one update that lies closest to its nearest others."""

from __future__ import annotations

import torch

from defenses.base import RULES, Aggregate, ClientUpdates
from defenses.support.assumed_attackers import AssumesAttackers
from defenses.support.krum_selection import Neighbourhood


@RULES.register("krum")
class Krum(AssumesAttackers):
    """Take over the one update with the smallest sum of squared distances to its n - f - 2 nearest others.

    score_i = sum of ||u_i - u_j||^2 over the n - f - 2 nearest j != i.  The lowest score wins, of equal ones that of
    the lowest client id.  Needs 2f + 2 < n, so at least three clients; fewer keep the model.

    Distances come from one centred Gram matrix in float64, so neither a large global model nor a giant update (over
    10,000 times longer than the median, never chosen) costs them digits.  A round learns from one client's data only,
    which costs accuracy on skewed data.  A backdoor close to honest updates gets through.
    """

    paper = ("blanchard2017", "section 4")
    choices = ("krum-neighbours", "krum-ties", "giants", "assumed-attackers")
    cost = "O(n^2 d): one Gram pass"
    traps = (
        "squared distances to n - f - 2 others, itself not counted",
        "a NaN update never wins: it is refused",
        "centred updates, not whole weights in float32",
        "ties go to the first client",
    )
    min_clients = 3
    condition = "2f + 2 < n is needed"

    @classmethod
    def largest_f(cls, n: int) -> int:
        """2f + 2 < n."""
        return (n - 3) // 2

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        """Aggregate one round. Keeps no state.

        Diagnostics per client: ``score`` as above (higher is more suspicious). Facts: ``f``, ``winner`` = id of the
        client whose update was taken.
        """
        f = self.attackers(updates)
        near = Neighbourhood.of(updates)
        winner = near.lowest(f, 1)[0]
        weights = torch.zeros(len(updates), dtype=torch.float64)
        weights[winner] = 1.0
        return Aggregate(
            updates.weighted_sum(weights),
            weights,
            {"score": near.scores_of_all(f).tolist()},
            {"f": float(f), "winner": float(updates.ids[winner])},
        )
