"""Random views of pictures float32 ``[n, C, H, W]`` in [0, 1], one draw per picture."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey picture (ITU-R BT.601)."""


def contrastive_view(x: Tensor, rng: torch.Generator) -> Tensor:
    """A view as SimCLR takes it (chen2020simclr, appendix A), but for the hue, which stays.

    A part of .2 to 1 of the area with sides of ratio 3/4 to 4/3, stretched to the whole; flipped by one half; with .8
    brightness, contrast and, of colours, saturation times 1 +- .4; of colours grey with .2; blurred by one half.
    """
    return _blurred(_jittered(_cut_and_flipped(x, rng), rng), rng)


def _uniform(n: int, low: float, high: float, rng: torch.Generator, like: Tensor) -> Tensor:
    """``[n, 1, 1, 1]``."""
    return (low + (high - low) * torch.rand(n, generator=rng)).to(like).view(-1, 1, 1, 1)


def _chosen(n: int, share: float, rng: torch.Generator, like: Tensor) -> Tensor:
    """bool ``[n, 1, 1, 1]``."""
    return (torch.rand(n, generator=rng) < share).to(like.device).view(-1, 1, 1, 1)


def _cut_and_flipped(x: Tensor, rng: torch.Generator) -> Tensor:
    n = len(x)
    area = 0.2 + 0.8 * torch.rand(n, generator=rng)
    ratio = torch.exp((2.0 * torch.rand(n, generator=rng) - 1.0) * torch.log(torch.tensor(4.0 / 3.0)))
    width, height = (area * ratio).sqrt().clamp(max=1.0), (area / ratio).sqrt().clamp(max=1.0)
    along = (2.0 * torch.rand(n, generator=rng) - 1.0) * (1.0 - width)
    down = (2.0 * torch.rand(n, generator=rng) - 1.0) * (1.0 - height)
    flip = torch.where(torch.rand(n, generator=rng) < 0.5, -1.0, 1.0)
    zero = torch.zeros(n)
    maps = torch.stack([torch.stack([width * flip, zero, along], 1), torch.stack([zero, height, down], 1)], 1)
    grid = F.affine_grid(maps.to(x), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _grey(x: Tensor) -> Tensor:
    if x.shape[1] != 3:
        return x.mean(1, keepdim=True).expand_as(x)
    return (x * torch.tensor(LUMA).to(x).view(1, 3, 1, 1)).sum(1, keepdim=True).expand_as(x)


def _jittered(x: Tensor, rng: torch.Generator) -> Tensor:
    n = len(x)
    changed = (x * _uniform(n, 0.6, 1.4, rng, x)).clamp(0.0, 1.0)
    mean = _grey(changed).mean((1, 2, 3), keepdim=True)
    changed = (mean + (changed - mean) * _uniform(n, 0.6, 1.4, rng, x)).clamp(0.0, 1.0)
    if x.shape[1] == 3:
        plain = _grey(changed)
        changed = (plain + (changed - plain) * _uniform(n, 0.6, 1.4, rng, x)).clamp(0.0, 1.0)
    changed = torch.where(_chosen(n, 0.8, rng, x), changed, x)
    if x.shape[1] != 3:
        return changed
    return torch.where(_chosen(n, 0.2, rng, x), _grey(changed), changed)


def _blurred(x: Tensor, rng: torch.Generator) -> Tensor:
    """A 3 x 3 Gaussian of deviation .1 to 2 pixels over every second picture."""
    n, channels, height, width = x.shape
    side = torch.exp(-0.5 / _uniform(n, 0.1, 2.0, rng, x).square()).view(-1, 1)
    line = torch.cat([side, torch.ones_like(side), side], 1)
    line = line / line.sum(1, keepdim=True)
    kernels = (line[:, :, None] * line[:, None, :]).repeat_interleave(channels, 0)[:, None]
    flat = F.pad(x, (1, 1, 1, 1), mode="reflect").reshape(1, n * channels, height + 2, width + 2)
    smooth = F.conv2d(flat, kernels, groups=n * channels).view(n, channels, height, width)
    return torch.where(_chosen(n, 0.5, rng, x), smooth, x)


def cutout(x: Tensor, side: int, rng: torch.Generator) -> Tensor:
    """Zero a square of ``side`` pixels around a random pixel of each picture, cut at its edges (devries2017cutout)."""
    n, _, height, width = x.shape
    rows, columns = (torch.randint(0, size, (n, 1), generator=rng) for size in (height, width))
    low, high = side // 2, side - side // 2
    down, along = torch.arange(height)[None], torch.arange(width)[None]
    inside = ((down >= rows - low) & (down < rows + high))[:, :, None] & (
        (along >= columns - low) & (along < columns + high)
    )[:, None, :]
    return x.masked_fill(inside[:, None].to(x.device), 0.0)


def turned(x: Tensor, degrees: int, shift: float, rng: torch.Generator) -> Tensor:
    """Pictures turned by ``degrees`` (90, 180, 270) and moved by up to ``shift`` (fraction) of each side, zeros behind.

    Turns by 90 and 270 degrees need square pictures.
    """
    spun = torch.rot90(x, degrees // 90, (2, 3))
    n, _, height, width = spun.shape
    down, along = ((shift * size * (2.0 * torch.rand(n, 1, generator=rng) - 1.0)).round() for size in (height, width))
    rows = torch.arange(height)[None] - down.to(torch.int64)
    columns = torch.arange(width)[None] - along.to(torch.int64)
    seen = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    rows, columns = (index.clamp(0, size - 1).to(x.device) for index, size in ((rows, height), (columns, width)))
    batch = torch.arange(n, device=x.device)[:, None, None]
    moved = spun[batch, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return moved * seen[:, None].to(moved)
