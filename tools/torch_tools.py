"""What the training scripts share: the device, images as tensors, and a batched geometric augmentation."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from tools.fashion_idx import ImageSet


def pick_device(name: str = "auto") -> torch.device:
    """The named device; ``auto`` takes CUDA, then Apple's MPS, then the CPU."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def to_tensors(part: ImageSet) -> tuple[Tensor, Tensor]:
    """Images ``[n, 1, 28, 28]`` float32 in [0, 1], and labels ``[n]`` int64."""
    return torch.tensor(part.images).float().unsqueeze(1) / 255, torch.tensor(part.labels).long()


def uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """``[n]`` draws from U(low, high)."""
    return torch.rand(n, generator=generator) * (high - low) + low


def jitter(
    x: Tensor, generator: torch.Generator, shift: float = 2.0, scale: float = 0.1, turn: float = 5.0, flip: bool = True
) -> Tensor:
    """Shift (pixels), zoom (fraction), turn (degrees) and mirror each image by its own random amount.

    Parameters are drawn on the CPU. ``x`` is ``[n, C, H, W]`` with a background of 0, and so is the result.
    """
    n, size = len(x), x.shape[-1]
    zoom, angle = uniform(n, 1 - scale, 1 + scale, generator), uniform(n, -turn, turn, generator) * math.pi / 180
    mirror = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0) if flip else torch.ones(n)
    dx, dy = (uniform(n, -shift, shift, generator) * 2 / size for _ in range(2))
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    rows = [torch.stack([cos * mirror, -sin, dx], dim=1), torch.stack([sin * mirror, cos, dy], dim=1)]
    grid = F.affine_grid(torch.stack(rows, dim=1).to(x.device), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def erase(x: Tensor, generator: torch.Generator, probability: float, low: int = 2, high: int = 9) -> Tensor:
    """Fill a random rectangle (sides ``low .. high`` pixels) of some images with one random brightness in [0, 1]."""
    n, _, height, width = x.shape
    sides = torch.randint(low, high + 1, (2, n), generator=generator)
    top = (torch.rand(n, generator=generator) * (height - sides[0] + 1)).long()
    left = (torch.rand(n, generator=generator) * (width - sides[1] + 1)).long()
    rows, columns = torch.arange(height)[None, :], torch.arange(width)[None, :]
    in_rows = (rows >= top[:, None]) & (rows < (top + sides[0])[:, None])
    in_columns = (columns >= left[:, None]) & (columns < (left + sides[1])[:, None])
    chosen = torch.rand(n, generator=generator) < probability
    mask = (in_rows[:, :, None] & in_columns[:, None, :] & chosen[:, None, None]).unsqueeze(1).to(x.device)
    fill = torch.rand(n, generator=generator).view(n, 1, 1, 1).to(x.device)
    return torch.where(mask, fill, x)


def brightness_contrast(x: Tensor, generator: torch.Generator, strength: float = 0.2) -> Tensor:
    """Scale each image's brightness, and contrast about its mean, by factors in ``1 +- strength``; stays in [0, 1]."""
    n = len(x)
    gain = uniform(n, 1 - strength, 1 + strength, generator).view(n, 1, 1, 1).to(x.device)
    contrast = uniform(n, 1 - strength, 1 + strength, generator).view(n, 1, 1, 1).to(x.device)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return (((x - mean) * contrast + mean) * gain).clamp(0, 1)
