"""The control run."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from attacks.base import ATTACKS, Attack, PoisonContext


@ATTACKS.register("none")
class NoAttack(Attack):
    """No attack: no client is malicious, no trigger exists, no ASR is measured."""

    has_trigger: ClassVar[bool] = False

    def poison_train(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> tuple[Tensor, Tensor]:
        """Copies of the inputs."""
        return x.clone(), y.clone()
