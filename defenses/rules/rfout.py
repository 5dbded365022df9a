"""RFOUT-1d: values far from their coordinate's mean are replaced by it."""

from __future__ import annotations

import torch
from pydantic import Field

from defenses.base import RULES, Aggregate, AggregationRule, ClientUpdates
from defenses.kernels.clipping import add_noise, clip_factors
from defenses.kernels.coordinates import mean_without_outliers
from defenses.kernels.privacy import NO_CLAIM


@RULES.register("rfout")
class RfOut(AggregationRule):
    """In every coordinate, values beyond 3 standard deviations are replaced by the mean, then all are averaged.

    v -> mu where |v - mu| > ``deviations`` * s, with mu the mean and s the population's standard deviation of the
    coordinate, outliers included; then the unweighted mean.  Options: clip the updates first, add noise at the end.

    No value is ever more than sqrt(n - 1) standard deviations away, so with 3 it does nothing at all for n <= 10 (fact
    ``can_fire`` 0).  Beyond that it damps rather than removes: mu holds the outlier, so a lone one keeps 1/n of its
    pull, and attackers who agree hide each other by their own spread.
    """

    paper = ("rodriguezbarroso2022rfout", "RFOut-1d, as in its public code")
    choices = ("rfout-small-rounds",)
    cost = "O(nd) in blocks"
    traps = ("it can't fire for n <= 10, and says so",)
    deviations: float = Field(3.0, gt=0.0, description="Standard deviations beyond which a value is an outlier")
    clip: float = Field(0.0, ge=0.0, description="Length that updates are clipped to before; 0 = off")
    noise: float = Field(0.0, ge=0.0, description="Deviation of Gaussian noise on every parameter of the result")

    @property
    def privacy(self) -> str:
        """It promises none."""
        return NO_CLAIM if self.noise > 0.0 else ""

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        """Aggregate one round. Keeps no state.

        Diagnostics per client: ``score`` = share (0..1) of its values that were replaced (higher is more suspicious),
        ``norm``. Facts: ``replaced`` = share of all values, ``can_fire`` = 1 if n is large enough for any.
        """
        n, d = updates.matrix.shape
        norms = updates.norms
        factors = clip_factors(norms, self.clip) if self.clip > 0.0 else torch.ones_like(norms)
        weights = updates.equal_shares(torch.ones(n, dtype=torch.bool))
        can_fire = n - 1 > self.deviations**2
        if can_fire:
            shortened = factors if self.clip > 0.0 else None
            delta, replaced = mean_without_outliers(updates.matrix, self.deviations, shortened)
        else:  # the bound is reached exactly by a lone value, where rounding must not decide
            delta, replaced = updates.weighted_sum(weights * factors), torch.zeros(n, dtype=torch.int64)
        add_noise(delta, self.noise, updates.rng)
        share = replaced.to(torch.float64) / max(1, d)
        return Aggregate(
            delta,
            weights,
            {"score": share.tolist(), "norm": norms.tolist()},
            {"replaced": float(share.mean()), "can_fire": float(can_fire)},
        )
