"""The contract of an attack: it owns the training form and the test form of its trigger."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from config import Component, Registry
from learning.vector import Slot


@dataclass(frozen=True)
class CraftContext:
    """What an attacker knows when it crafts its upload."""

    round: int
    partition: int
    num_participants: int
    """Clients sampled this round (an attacker may guess it; model replacement scales by it)."""
    slots: tuple[Slot, ...]
    """Layout of the flat parameter vector."""
    rng: torch.Generator
    shared: dict[str, Tensor] = field(default_factory=dict)
    """What colluding attackers share; empty where they can't."""


class Attack(Component):
    """One attack. Data-only attacks override the poisoners, model-poisoning ones ``craft`` (or both)."""

    has_trigger: ClassVar[bool] = True
    """False for untargeted attacks: no ASR is measured."""
    clean_label: ClassVar[bool] = False
    """True: only target-class images are poisoned and labels stay."""
    needs_benign_model: ClassVar[bool] = False
    """True: the client also trains on its clean data and passes that model to ``craft``."""

    def poison_train(self, x: Tensor, y: Tensor, target: int, part: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Poison chosen training samples.

        ``x`` float32 ``[n, C, H, W]`` in [0, 1], ``y`` int64 ``[n]``; ``part`` numbers this attacker among the
        malicious clients (0, 1, ...), for triggers that are split between them.  Returns new tensors of the same
        shapes; the inputs are not changed.
        """
        return self.poison_test(x), torch.full_like(y, target) if not self.clean_label else y.clone()

    def poison_test(self, x: Tensor) -> Tensor:
        """Put the full trigger on images ``[n, C, H, W]`` in [0, 1]; returns a new tensor in [0, 1]."""
        raise TypeError(f"attack {self.name!r} has no trigger")

    def mask(self, shape: tuple[int, int, int]) -> Tensor | None:
        """Pixels of an image of this shape (C, H, W) that the trigger may change, bool ``[C, H, W]``; None = any."""
        return None

    def craft(self, w_global: Tensor, w_benign: Tensor | None, w_malicious: Tensor, ctx: CraftContext) -> Tensor:
        """The upload ``[d]`` made of the global model, the attacker's clean and poisoned local models."""
        return w_malicious


ATTACKS: Registry[Attack] = Registry("attack", "attacks")
