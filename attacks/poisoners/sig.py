"""SIG: a sinusoid over target-class images, labels untouched."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from attacks.poisoner import POISONERS, PoisonContext, Poisoner
from fedcrucible_core.config.citation import Paper


@POISONERS.register("sig")
class Sig(Poisoner):
    """Clean-label sinusoid: x'[i, j] = clip(x + (delta / 255) * sin(2 pi j f / m)) in column j of m; labels stay.

    Only images of the target class are poisoned, so ``poison.ratio`` is a share of those (public code counts it
    over the whole data set), and ``poison.scope`` has no meaning.  Sums are clipped to [0, 1] and not cut to
    whole grey levels.
    """

    paper: ClassVar[Paper] = (("barni2019sig", "sinusoidal signal"), ("wu2022backdoorbench", "delta and f"))
    choices = ("sig-ratio",)
    cost = "one addition per pixel"
    traps = ("clipped before it is rounded", "labels stay")
    clean_label: ClassVar[bool] = True
    delta: float = Field(40.0, ge=0.0, le=255.0, description="Amplitude in grey levels of 255")
    frequency: float = Field(6.0, gt=0.0, le=1024.0, description="Periods f over the image's width")

    def wave(self, width: int) -> Tensor:
        """What is added to each column, float32 ``[width]``."""
        columns = torch.arange(width, dtype=torch.float64)
        return ((self.delta / 255.0) * torch.sin(2.0 * math.pi * columns * self.frequency / width)).to(torch.float32)

    def stamp(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> Tensor:
        """Add the wave to images ``[n, C, H, W]`` in [0, 1] and clip; returns a new tensor."""
        return (x + self.wave(x.shape[3]).to(x)).clamp_(0.0, 1.0)
