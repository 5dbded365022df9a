"""Numbers that rounding can't tell apart, made equal, so that no result depends on the order of the clients."""

from __future__ import annotations

import torch
from torch import Tensor


def level_ties(numbers: Tensor, slack: float) -> Tensor:
    """``numbers``, float64 and none NaN, of which every run of neighbours at most ``slack`` apart is set to its lowest.

    What is equal by definition (distances in a symmetric configuration, between duplicates) comes out of a product
    unlike in the last bits, and which one is larger depends on where the clients' rows lie.  Numbers that are further
    apart stay as they are, bit for bit; infinite ones are equal to each other.
    """
    if numbers.numel() == 0:
        return numbers
    ordered, place = numbers.flatten().sort(stable=True)
    starts = torch.ones(len(ordered), dtype=torch.bool)
    starts[1:] = ordered[1:] - ordered[:-1] > slack  # infinity minus infinity is NaN, which isn't above it
    lowest = ordered[starts][starts.cumsum(0) - 1]
    levelled = torch.empty_like(ordered)
    levelled[place] = lowest
    return levelled.view(numbers.shape)
