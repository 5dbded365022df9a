"""Multi-Krum: the mean of the m updates with the lowest Krum scores."""

from __future__ import annotations

import torch
from pydantic import Field

from defenses.base import RULES, Aggregate, ClientUpdates
from defenses.support.assumed_attackers import AssumesAttackers
from defenses.support.krum_selection import Neighbourhood
from fedcrucible_core.config import ConfigError


@RULES.register("multi-krum")
class MultiKrum(AssumesAttackers):
    """Unweighted mean of the m updates with the lowest Krum scores, m = n - f unless set.

    Scores are Krum's: sums of squared distances to the n - f - 2 nearest others; of equal ones the lowest client id
    comes first.  ``iterative`` chooses one by one instead and scores the rest anew after each, with n one smaller.
    Needs 2f + 2 < n, so at least three clients; fewer keep the model.

    With f assumed too small attackers are averaged in; giants (over 10,000 times longer than the median) never are,
    and m shrinks where too few others are left.
    """

    paper = ("blanchard2017", "Multi-Krum")
    choices = ("multi-krum-m", "krum-neighbours", "krum-ties", "assumed-attackers")
    cost = "O(n^2 d): one Gram pass"
    traps = (
        "squared distances to n - f - 2 others, itself not counted",
        "centred updates, not whole weights in float32",
    )
    min_clients = 3
    condition = "2f + 2 < n is needed"
    m: int = Field(0, ge=0, description="Updates that are averaged; 0 = n - f")
    iterative: bool = Field(False, description="Choose one by one and score the rest anew after each choice")

    @classmethod
    def largest_f(cls, n: int) -> int:
        """2f + 2 < n."""
        return (n - 3) // 2

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        """Aggregate one round. Keeps no state.

        Diagnostics per client: ``score`` = Krum score among all n (higher is more suspicious). Facts: ``f``,
        ``accepted``.
        """
        f, n = self.attackers(updates), len(updates)
        if self.m > n and updates.server.sampled <= n:  # else replies were dropped: all that came are averaged
            raise ValueError(f"multi-krum can't average m = {self.m} of n = {n} updates")
        near = Neighbourhood.of(updates)
        chosen = (near.repeatedly if self.iterative else near.lowest)(f, min(self.m, n) or n - f)
        accepted = torch.zeros(n, dtype=torch.bool)
        accepted[chosen] = True
        weights = updates.equal_shares(accepted)
        return Aggregate(
            updates.weighted_sum(weights),
            weights,
            {"score": near.scores_of_all(f).tolist()},
            {"f": float(f), "accepted": float(len(chosen))},
        )

    def check(self, clients: int, malicious: int) -> None:
        """Also refuses an m above the number of participants."""
        super().check(clients, malicious)
        if self.m > clients:
            raise ConfigError(f"defense.{self.name}.m", self.m, f"at most the {clients} clients of a round")
