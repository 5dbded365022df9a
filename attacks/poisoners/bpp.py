"""BppAttack: fewer grey levels."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from attacks.poisoner import POISONERS, PoisonContext, Poisoner

FLOYD_STEINBERG = ((0, 1, 7 / 16), (1, -1, 3 / 16), (1, 0, 5 / 16), (1, 1, 1 / 16))
"""Rows down, columns right, share of the error."""


@POISONERS.register("bpp")
class Bpp(Poisoner):
    """Each channel is quantised to L levels: x' = round(x * (L - 1)) / (L - 1); label -> target.

    With ``dithering`` the rounding error of each pixel is passed on to its neighbours (Floyd-Steinberg), row by row.

    Negative samples: floor(neg_ratio * E + 1/2) of the attacker's E eligible images (fewer where fewer are left) are
    given another image's quantisation residual, clip(x + (q(z) - z)), and keep their true labels. So the model ties the
    target to the image's own residual only.
    """

    paper = (("wang2022bpp", ""), ("wu2022backdoorbench", "levels and ratios"))
    choices = ("bpp-negatives",)
    cost = "one rounding per pixel; Floyd-Steinberg row by row"
    traps = ("decoys keep their labels",)
    levels: int = Field(8, ge=2, le=256, description="Grey levels L per channel")
    dithering: bool = Field(False, description="Floyd-Steinberg dithering")
    neg_ratio: float = Field(
        0.1, ge=0.0, le=1.0, description="Negative samples as a share (fraction) of the eligible images; 0 = none"
    )

    def stamp(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> Tensor:
        """Quantise images ``[n, C, H, W]`` in [0, 1]; returns a new tensor."""
        return self.quantise(x)

    def quantise(self, x: Tensor) -> Tensor:
        """Images ``[n, C, H, W]`` with L levels a channel; a new tensor."""
        return self._dithered(x) if self.dithering else self._quantised(x)

    def decoy_count(self, poisoned: int, eligible: int) -> int:
        """``neg_ratio`` of the eligible images, rounded half up."""
        return math.floor(self.neg_ratio * eligible + 0.5)

    def decoys(self, x: Tensor, others: Tensor, ctx: PoisonContext) -> Tensor:
        """The same images with the residuals of ``others``."""
        return (x + (self.quantise(others) - others)).clamp_(0.0, 1.0)

    def _quantised(self, x: Tensor) -> Tensor:
        top = self.levels - 1
        return (x * top).round_().clamp_(0, top).div_(top)

    def _dithered(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        left = x.to(torch.float64, copy=True)  # errors add up along the whole image
        out = torch.empty_like(x)
        for row in range(height):
            for column in range(width):
                old = left[:, :, row, column].clone()
                new = self._quantised(old)
                out[:, :, row, column] = new.to(x.dtype)
                for down, right, share in FLOYD_STEINBERG:
                    if row + down < height and 0 <= column + right < width:
                        left[:, :, row + down, column + right] += (old - new) * share
        return out
