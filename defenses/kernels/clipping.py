"""Clipping updates to a length, and Gaussian noise on what comes out."""

from __future__ import annotations

import torch
from torch import Tensor

from defenses.kernels.geometry import FLOOR


def clip_factors(norms: Tensor, bound: float) -> Tensor:
    """``min(1, bound / norm)`` for every norm ``[n]``; 0 only when the bound is."""
    return (bound / norms.clamp(min=FLOOR)).clamp(max=1.0)


def add_noise(vector: Tensor, deviation: float, rng: torch.Generator) -> None:
    """Add N(0, deviation^2) to every number of ``vector``, in place; drawn on the CPU, so alike on every device."""
    if deviation > 0.0:
        vector += torch.randn(vector.shape, generator=rng).mul_(deviation).to(vector.device)
