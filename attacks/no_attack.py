"""The control run."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from attacks.base import ATTACKS, Attack


@ATTACKS.register("none")
class NoAttack(Attack):
    """No attack: no client is malicious, no trigger exists, no ASR is measured."""

    has_trigger: ClassVar[bool] = False

    def poison_train(self, x: Tensor, y: Tensor, target: int, part: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Copies of the inputs."""
        return x.clone(), y.clone()
