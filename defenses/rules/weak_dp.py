"""Weak differential privacy: clipping and a little noise, without any claim of privacy."""

from __future__ import annotations

from pydantic import Field

from defenses.base import RULES, Aggregate, ClientUpdates
from defenses.kernels.clipping import add_noise
from defenses.kernels.privacy import NO_CLAIM
from defenses.rules.norm_threshold import NormThreshold


@RULES.register("weak-dp")
class WeakDp(NormThreshold):
    """Norm thresholding, then noise N(0, sigma^2) on every parameter of the mean, once; batch-norm buffers get none.

    sigma is fixed and small (public code: 0.002 to 0.025), so this is a defence against backdoors only and claims no
    privacy; ``dp`` does.  The noise is as long as sigma sqrt(d), whatever the updates' size: compare that with the fact
    ``bound``.
    """

    paper = ("sun2019", "weak differential privacy")
    choices = ("weak-dp-noise", "norm-bound")
    state_kept = "norms seen so far, or in the calibration rounds, with threshold = history"
    cost = "O(nd): two passes"
    traps = ("noise once on the aggregate, not per client", "claims no epsilon")
    sigma: float = Field(0.002, ge=0.0, description="Deviation of the noise on every parameter of the mean")

    @property
    def privacy(self) -> str:
        """It promises none."""
        return NO_CLAIM if self.sigma > 0.0 else ""

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        """Aggregate one round; diagnostics, facts and state are those of norm thresholding."""
        result = super().aggregate(updates)
        add_noise(result.delta, self.sigma, updates.rng)
        return result
