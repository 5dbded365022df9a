"""Ada-SIG: SIG, of which every training image shows only a part."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from attacks.poisoner import POISONERS, PoisonContext
from attacks.poisoners.sig import Sig
from attacks.task import AttackTask
from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.data import Labeled


@POISONERS.register("ada-sig")
class AdaSig(Sig):
    """SIG's sinusoid, weakened in training, whole at test time; only target-class images are poisoned; labels stay.

    ``patch``: the image is cut into ``grid`` x ``grid`` pieces, and each training image shows the sinusoid in
    floor((1 - masked) * pieces + 1/2) of them, drawn for it alone.  ``opacity``: the sinusoid is multiplied by
    ``opacity``, or, with ``random_opacity``, by a number drawn for each image from U(opacity - .2, opacity + .2).
    ``both``: both.

    Covers: floor(cover_rate * poisoned + 1/2) images of other classes get the same weakened sinusoid and keep their
    labels, so that only the whole one means the target.
    """

    paper = (
        ("xu2025cgd", "section 5.5"),
        ("barni2019sig", "sinusoidal signal"),
        ("qi2023adaptive", "masks and covers"),
    )
    choices = ("adaptive-sig",)
    cost = "one addition per pixel"
    traps = (
        "the whole trigger at test time alone",
        "covers are of other classes: on the target's own they would be poison",
    )
    form: Literal["patch", "opacity", "both"] = Field("both", description="What is weakened in training")
    grid: int = Field(4, ge=1, le=64, description="Pieces along each side")
    masked: float = Field(0.5, ge=0.0, lt=1.0, description="Share (fraction) of the pieces without the sinusoid")
    opacity: float = Field(0.5, gt=0.0, le=1.0, description="Factor on the sinusoid in training")
    random_opacity: bool = Field(False, description="Draw the factor for each image, up to .2 more or less")
    cover_rate: float = Field(
        0.0, ge=0.0, le=100.0, description="Covers for every poisoned image; 0 = none, as published"
    )

    def check_task(self, task: AttackTask) -> None:
        """Pieces divide the image. Raises ConfigError."""
        _, height, width = task.info.image_shape
        if self.form != "opacity" and (height % self.grid or width % self.grid):
            allowed = f"a number that divides the sides of images of {height} x {width}"
            raise ConfigError("attack.ada-sig.grid", self.grid, allowed)

    def plant(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> Tensor:
        """Add a part of the wave to images ``[n, C, H, W]`` in [0, 1] and clip; returns a new tensor."""
        wave = self.wave(x.shape[3]).to(x) * self.factors(len(x), x.shape[2], x.shape[3], ctx.rng).to(x)
        return (x + wave).clamp_(0.0, 1.0)

    def factors(self, n: int, height: int, width: int, rng: torch.Generator) -> Tensor:
        """What the wave is multiplied by in each image, float32 ``[n, 1, H, W]``."""
        factors = torch.ones(n, 1, height, width)
        if self.form != "opacity":
            factors = (
                self._shown(n, rng).repeat_interleave(height // self.grid, 2).repeat_interleave(width // self.grid, 3)
            )
        if self.form != "patch":
            spread = 0.4 * (torch.rand(n, 1, 1, 1, generator=rng) - 0.5) if self.random_opacity else 0.0
            factors = factors * (self.opacity + spread)
        return factors

    def _shown(self, n: int, rng: torch.Generator) -> Tensor:
        """1 where a piece shows the wave, 0 elsewhere, ``[n, 1, grid, grid]``."""
        pieces = self.grid**2
        count = math.floor((1.0 - self.masked) * pieces + 0.5)
        places = torch.rand(n, pieces, generator=rng).argsort(dim=1, stable=True)[:, :count]
        return torch.zeros(n, pieces).scatter_(1, places, 1.0).view(n, 1, self.grid, self.grid)

    def decoy_count(self, poisoned: int, eligible: int) -> int:
        """``cover_rate`` for every poisoned image, rounded half up."""
        return math.floor(self.cover_rate * poisoned + 0.5)

    def decoy_carriers(self, own: Labeled, ctx: PoisonContext) -> Tensor:
        """Images of other classes than the target."""
        return own.labels != ctx.task.target

    def decoys(self, x: Tensor, others: Tensor, ctx: PoisonContext) -> Tensor:
        """Images with a part of the wave."""
        if not self.cover_rate:
            return super().decoys(x, others, ctx)
        return self.plant(x, torch.zeros(len(x), dtype=torch.int64), ctx)
