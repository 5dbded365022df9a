"""Gaussian noise in place of an update."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from attacks.support.untargeted import Untargeted
from attacks.uploader import UPLOADERS, CraftContext


@UPLOADERS.register("gaussian")
class Gaussian(Untargeted):
    """Upload w_t + N(0, sigma^2 I): noise in place of the update, drawn anew by every attacker in every round.

    Its length is about sigma * sqrt(d).  The default is this project's choice.
    """

    paper = "Byzantine baseline of the field, of no single source"
    choices = ("byzantine-baselines",)
    cost = "one draw per parameter"
    sigma: float = Field(0.1, gt=0.0, description="Standard deviation of every coordinate of the update")

    def update(self, own: Tensor, ctx: CraftContext) -> Tensor:
        """Noise ``[d]``."""
        return torch.randn(own.shape, generator=ctx.rng, dtype=own.dtype) * self.sigma
