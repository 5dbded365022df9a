"""Bezier curves through parameter vectors."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def bezier_weights(t: float, bends: int) -> Tensor:
    """Weight of each of ``bends`` >= 2 points at ``t`` in [0, 1], float64 ``[bends]``, sum 1.

    C(n, i) t^i (1 - t)^(n - i) with n = bends - 1.  E.g. of three points at .1: .81, .18, .01.
    """
    n = bends - 1
    return torch.tensor([math.comb(n, i) * t**i * (1.0 - t) ** (n - i) for i in range(bends)], dtype=torch.float64)


def straight_points(start: Tensor, end: Tensor, bends: int) -> Tensor:
    """``bends`` points ``[bends, d]``, evenly spaced from ``start`` to ``end`` ``[d]``, each in memory of its own."""
    shares = torch.linspace(0.0, 1.0, bends, dtype=torch.float64)[:, None].to(start.device)
    return (start.to(torch.float64) + shares * (end - start).to(torch.float64)).to(start.dtype)


def on_curve(points: Tensor, t: float) -> Tensor:
    """The curve's point ``[d]`` at ``t`` of points ``[bends, d]``."""
    return bezier_weights(t, len(points)).to(points) @ points
