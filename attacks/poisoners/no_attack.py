"""The control run."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from attacks.poisoner import POISONERS, PoisonContext, Poisoner


@POISONERS.register("none")
class NoAttack(Poisoner):
    """No attack: no client is malicious, no trigger exists, no ASR is measured."""

    task: ClassVar[str] = ""
    has_trigger: ClassVar[bool] = False

    def stamp(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> Tensor:
        """Copies of the inputs."""
        return x.clone()

    def relabel(self, y: Tensor, ctx: PoisonContext) -> Tensor:
        """Copies of the labels."""
        return y.clone()
