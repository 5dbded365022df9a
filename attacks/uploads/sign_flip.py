"""Sign flipping: the honest update, turned round."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from attacks.support.untargeted import Untargeted
from attacks.uploader import UPLOADERS, CraftContext


@UPLOADERS.register("sign-flip")
class SignFlip(Untargeted):
    """Upload w_t - scale * u, where u is the attacker's own clean update.

    The attacker pushes the model backwards along its own honest step.  Under averaging its effect is bounded by the
    attackers' share of the weight times ``scale``.
    """

    paper = "Byzantine baseline of the field, of no single source"
    choices = ("byzantine-baselines",)
    cost = "one local training"
    scale: float = Field(1.0, gt=0.0, description="Factor on the flipped update")

    def update(self, own: Tensor, ctx: CraftContext) -> Tensor:
        """``-scale * u``."""
        return own * -self.scale
