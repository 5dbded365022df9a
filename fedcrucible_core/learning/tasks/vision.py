"""Classification of pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from fedcrucible_core.config.sections import TrainingSection
from fedcrucible_core.learning.tasks.base import Task, register


@dataclass(frozen=True)
class VisionTask(Task):
    """Pictures float32 ``[n, C, H, W]`` in [0, 1]; stored as uint8.  Models normalise them in their first layer."""

    noun: ClassVar[str] = "image"
    pictured: ClassVar[bool] = True

    def random_inputs(self, n: int, rng: torch.Generator) -> Tensor:
        """Uniform noise."""
        return torch.rand(n, *self.info.image_shape, generator=rng)

    @property
    def form(self) -> str:
        """Channels, height and width."""
        return f"{'x'.join(map(str, self.info.image_shape))} (CxHxW)"

    @property
    def energy_bound(self) -> float:
        """Of normalised pictures of pixels in [0, 1]: every pixel at its farther end."""
        _, height, width = self.info.image_shape
        squares = sum(max(m, 1.0 - m) ** 2 / s**2 for m, s in zip(self.info.mean, self.info.std, strict=True))
        return height * width * squares

    def check(self, training: TrainingSection) -> None:
        """Every way to train works on pictures."""


def crop_flip(x: Tensor, rng: torch.Generator) -> Tensor:
    """Random crop after 4 pixels of zero padding, and horizontal flip, one draw per image."""
    n, _, height, width = x.shape
    dy = torch.randint(0, 9, (n,), generator=rng)
    dx = torch.randint(0, 9, (n,), generator=rng)
    flip = torch.rand(n, generator=rng) < 0.5
    rows = dy[:, None] + torch.arange(height)
    columns = torch.where(flip[:, None], torch.arange(width - 1, -1, -1), torch.arange(width)) + dx[:, None]
    rows, columns = rows.to(x.device), columns.to(x.device)
    padded = F.pad(x, (4, 4, 4, 4))
    batch = torch.arange(n, device=x.device)[:, None, None]
    return padded[batch, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


register("vision", VisionTask)
