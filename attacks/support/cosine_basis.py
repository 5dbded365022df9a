"""Single coefficients of the orthonormal two-dimensional DCT-II, as images."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def basis_image(row: int, column: int, height: int, width: int) -> Tensor:
    """What 1 more at coefficient (row, column) adds to every pixel, float64 ``[H, W]``; its square sum is 1."""
    return torch.outer(_basis(row, height), _basis(column, width))


def _basis(k: int, n: int) -> Tensor:
    scale = math.sqrt((1.0 if k == 0 else 2.0) / n)
    return scale * torch.cos(math.pi * (2.0 * torch.arange(n, dtype=torch.float64) + 1.0) * k / (2.0 * n))
