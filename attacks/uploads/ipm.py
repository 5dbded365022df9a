"""Inner product manipulation."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from attacks.support.benign_statistics import FromBenignStatistics
from attacks.uploader import UPLOADERS, CraftContext


@UPLOADERS.register("ipm")
class IPM(FromBenignStatistics):
    """Every attacker uploads w_t - epsilon * mu, where mu is the mean of the colluders' clean updates.

    The inner product of the aggregate and the true mean turns negative where the rule lets enough of it through; plain
    averaging of n clients, m of them attackers, needs epsilon > (n - m) / m.  Small epsilon (0.1 to 2) slips through
    distance-based rules.
    """

    paper = ("xie2019ipm", "inner product manipulation")
    choices = ("ipm-epsilon", "colluder-statistics")
    cost = "clean training of every colluder, once per round"
    epsilon: float = Field(0.5, gt=0.0, description="Factor on the negated mean; 0.1 to 2 are common")

    def common_update(self, benign: Tensor, ctx: CraftContext) -> Tensor:
        """``-epsilon * mu``."""
        return benign.mean(0) * -self.epsilon
