"""A little is enough."""

from __future__ import annotations

from statistics import NormalDist

from pydantic import Field
from torch import Tensor

from attacks.support.benign_statistics import FromBenignStatistics
from attacks.uploader import UPLOADERS, CraftContext


def largest_z(n: int, m: int) -> float:
    """z = Phi^-1((n - m - s) / (n - m)) with s = floor(n / 2) + 1 - m supporters needed among n - m honest clients.

    Shares of 0 and 1 (an attacker majority, or n < 3), where z would be infinite, count as half a client from there.
    """
    honest = max(1, n - m)
    supporters = n // 2 + 1 - m
    share = min(max((honest - supporters) / honest, 0.5 / honest), 1.0 - 0.5 / honest)
    return NormalDist().inv_cdf(share)


@UPLOADERS.register("alie")
class ALIE(FromBenignStatistics):
    """Every attacker uploads w_t + mu - z * sigma, coordinate by coordinate.

    mu and sigma are mean and standard deviation (of the population) of the colluders' clean updates.  z is the largest
    shift, in standard deviations, still within honest variation: Phi^-1((n - m - s) / (n - m)), s = floor(n/2) + 1 - m,
    for n participants and m attackers among them.  With few attackers z is 0 or negative, as the formula gives it.  A
    lone attacker has sigma = 0 and uploads its clean update.
    """

    knowledge = (*FromBenignStatistics.knowledge, "numbers of participants and attackers")
    paper = ("baruch2019alie", "")
    choices = ("alie-z", "colluder-statistics")
    cost = "clean training of every colluder, once per round"
    traps = ("mean and deviation of clean updates only",)
    z_max: float = Field(
        -1.0, ge=-1.0, description="Deviations z from the mean; -1 = from the numbers of clients and attackers"
    )

    def common_update(self, benign: Tensor, ctx: CraftContext) -> Tensor:
        """``mu - z * sigma``."""
        z = largest_z(ctx.num_participants, ctx.attackers) if self.z_max == -1.0 else self.z_max
        return benign.mean(0) - z * benign.std(0, correction=0)
