"""WaNet: a smooth warp that is hard to see."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from attacks.poisoner import POISONERS, PoisonContext, Poisoner
from fedcrucible_core.learning.rng import torch_generator


@POISONERS.register("wanet")
class WaNet(Poisoner):
    """Every image is bent by one fixed smooth field; label -> target.

    A coarse field P ~ U(-1, 1) of 2 x k x k, divided by its mean absolute value, is enlarged to H x W (bicubic, corners
    aligned); images are sampled (bilinear, corners aligned) at grid = clamp((identity + s * P / H) * grid_rescale,
    -1, 1), coordinates from -1 to 1.  All attackers and the test use the same P, drawn from ``seed`` alone.

    Noise mode: floor(cross_ratio * poisoned + 1/2) further images (fewer where fewer eligible ones are left) are bent
    by the grid plus U(-1, 1) / H for every pixel and keep their true labels.  So the model ties the target to this one
    warp only.
    """

    paper = ("nguyen2021wanet", "numbers of its public code")
    choices = ("wanet-noise",)
    cost = "one bilinear sampling per image"
    traps = ("noise samples keep their labels", "one warp for training and test")
    grid_size: int = Field(4, ge=2, le=64, description="Side k of the coarse field")
    strength: float = Field(0.5, ge=0.0, le=100.0, description="Strength s of the warp; 0 = none")
    grid_rescale: float = Field(1.0, gt=0.0, le=2.0, description="Factor on the whole grid; 1 = as it is")
    cross_ratio: float = Field(2.0, ge=0.0, le=100.0, description="Noise images for every poisoned one; 0 = none")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="Seed of the field P; not the run's seed")

    def grid(self, height: int, width: int) -> Tensor:
        """Where each pixel is taken from, float32 ``[H, W, 2]`` as (x, y) in [-1, 1]."""
        k = self.grid_size
        coarse = torch.rand(1, 2, k, k, generator=torch_generator(self.seed, "wanet-field")) * 2.0 - 1.0
        coarse = coarse / coarse.abs().mean()
        field = F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=True)[0].permute(1, 2, 0)
        rows, columns = torch.linspace(-1.0, 1.0, height), torch.linspace(-1.0, 1.0, width)
        identity = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=2)
        return ((identity + self.strength * field / height) * self.grid_rescale).clamp(-1.0, 1.0)

    def stamp(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> Tensor:
        """Bend images ``[n, C, H, W]`` in [0, 1]; returns a new tensor."""
        return _sample(x, self.grid(x.shape[2], x.shape[3]).to(x).expand(len(x), -1, -1, -1))

    def decoy_count(self, poisoned: int, eligible: int) -> int:
        """``cross_ratio`` for every poisoned image, rounded half up."""
        return math.floor(self.cross_ratio * poisoned + 0.5)

    def decoys(self, x: Tensor, others: Tensor, ctx: PoisonContext) -> Tensor:
        """The same images bent by the grid plus noise of their own."""
        height, width = x.shape[2], x.shape[3]
        noise = torch.rand(len(x), height, width, 2, generator=ctx.rng) * 2.0 - 1.0
        grid = (self.grid(height, width) + noise / height).clamp(-1.0, 1.0)
        return _sample(x, grid.to(x))


def _sample(x: Tensor, grid: Tensor) -> Tensor:
    bent = F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
    return bent.clamp_(0.0, 1.0)  # weights of a pixel may sum to 1 + 1e-7
