"""What untargeted attackers estimate of honest updates: from their colluders' clean updates."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from attacks.support.untargeted import Untargeted
from attacks.uploader import CraftContext


class FromBenignStatistics(Untargeted):
    """Crafts one update from the clean updates b_1..b_k of the attackers that take part this round.

    The statistics hold no crafted update, only what honest training on the attackers' own data gives.  An attacker that
    is alone knows only its own clean update: the mean is that update, the deviation 0.
    """

    needs_clean_updates: ClassVar[bool] = True
    knowledge: ClassVar[tuple[str, ...]] = (
        "honest clients' updates, estimated from the colluding attackers' clean data",
    )

    @abstractmethod
    def common_update(self, benign: Tensor, ctx: CraftContext) -> Tensor:
        """The crafted update ``[d]`` from benign updates ``[k, d]``."""

    def update(self, own: Tensor, ctx: CraftContext) -> Tensor:
        """The crafted update; every colluder uploads the same."""
        benign = own[None] if ctx.clean_updates is None else ctx.clean_updates
        return self.common_update(benign, ctx)
