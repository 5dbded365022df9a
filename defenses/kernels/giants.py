"""Updates so long that float64 sums over them would lose every digit of the others."""

from __future__ import annotations

import torch
from torch import Tensor

from defenses.kernels.geometry import median

GIANT = 1e4
"""An update this many times longer than the median is a giant."""


def without_giants(norms: Tensor) -> Tensor:
    """Updates that are no giants, bool ``[n]``: norms ``[n]`` of at most ``GIANT`` times their median.

    Rules that compare everyone with everyone leave giants out first: one row of 1e20 would drown all other distances
    in rounding errors, which a second attacker could hide behind.  Fewer than half can be giants, so a majority is
    always left.  Of fewer than three updates, or when the median is 0, none is called a giant.
    """
    middle = median(norms)
    if len(norms) < 3 or middle == 0.0:
        return torch.ones_like(norms, dtype=torch.bool)
    return norms <= GIANT * middle
