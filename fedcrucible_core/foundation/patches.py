"""Random visible patches: the trigger family the server imagines, never the attack's own."""

from __future__ import annotations

import torch
from torch import Tensor

CORNER_SHARE = 0.75
"""Share of patches put near a corner; the others lie anywhere."""
CORNER_REACH = 4
"""Largest distance, in pixels of a 32-pixel image, between a corner patch and the two edges it is near."""
VISIBLE = 0.1
"""A patch that changes its pixels by less than this on average is replaced by a white or black one."""


def random_patches(x: Tensor, rng: torch.Generator, max_side: int = 4) -> Tensor:
    """Put one random visible patch on every image (docs/choices.md#imagined-trigger).

    Side uniform in 1..``max_side`` (pixels of a 32-pixel image, scaled by H/32, at least 1); location near one of the
    four corners for three patches in four, else uniform; colour white, black, one random colour or a black-and-white
    checkerboard, each with the same chance. A patch that can hardly be seen where it falls (black on black) becomes
    white or black, whichever is further from the pixels under it.

    Args:
        x: images float32 ``[n, C, H, W]`` in [0, 1]; not changed.
        rng: CPU generator; it moves on by the same number of draws for the same n and C.
        max_side: largest side, at least 1.

    Returns:
        A new tensor like ``x``, in [0, 1].

    Raises:
        ValueError: ``x`` isn't 4-D, or ``max_side`` is below 1.
    """
    if x.ndim != 4:
        raise ValueError(f"images must be [n, C, H, W], got shape {tuple(x.shape)}")
    if max_side < 1:
        raise ValueError(f"max_side must be at least 1, got {max_side}")
    n, channels, height, width = x.shape
    draws = torch.rand(8, n, generator=rng)
    colour = torch.rand(n, channels, 1, 1, generator=rng)
    side = (1 + (draws[0] * max_side).floor()).mul(height / 32).round().clamp(1, min(height, width))
    near = draws[1] < CORNER_SHARE
    rows = _places(draws[2], draws[3] < 0.5, near, side, height)
    columns = _places(draws[4], draws[5] < 0.5, near, side, width)
    kind = (draws[6] * 4).long()

    i, j = torch.arange(height), torch.arange(width)
    in_rows = (i >= rows[:, None]) & (i < (rows + side)[:, None])
    in_columns = (j >= columns[:, None]) & (j < (columns + side)[:, None])
    inside = (in_rows[:, None, :, None] & in_columns[:, None, None, :]).to(x.device)  # [n, 1, H, W]
    phase = (i[:, None] + j[None, :] + (draws[7] < 0.5).long()[:, None, None]) % 2  # [n, H, W]
    kinds = kind[:, None, None, None]
    plain = torch.where(kinds == 0, 1.0, torch.where(kinds == 1, 0.0, colour))  # [n, C, 1, 1]
    paint = torch.where(kinds == 3, phase[:, None].to(x.dtype), plain.to(x.dtype)).to(x.device)  # [n, C, H, W]

    cells = (side * side * channels).to(x)[:, None, None, None]
    change = ((paint - x).abs() * inside).sum(dim=(1, 2, 3), keepdim=True) / cells
    beneath = (x * inside).sum(dim=(1, 2, 3), keepdim=True) / cells
    paint = torch.where(change < VISIBLE, (beneath < 0.5).to(x.dtype), paint)
    return torch.where(inside, paint, x)


def _places(draw: Tensor, far_end: Tensor, near: Tensor, side: Tensor, length: int) -> Tensor:
    """First row (or column) ``[n]`` of each patch: near one end of the axis, or uniform along it."""
    free = length - side
    reach = torch.full_like(side, round(CORNER_REACH * length / 32)).minimum(free)
    offset = (draw * (reach + 1)).floor().minimum(reach)
    corner = torch.where(far_end, free - offset, offset)
    return torch.where(near, corner, (draw * (free + 1)).floor().minimum(free))
