"""Buffers after aggregation: running statistics are averaged, counters copied from the largest.

The mean is what every paper assumes, and no rule looks at buffers: one accepted client with absurd statistics spoils
the model for as long as they are remembered.  The coordinate-wise median can't be moved by a minority.  What public
code does with buffers: docs/choices.md#buffers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from defenses.kernels.coordinates import by_coordinate, middle
from fedcrucible_core.learning.vector import Slot

Statistic = Literal["mean", "median"]


def aggregate_buffers(
    current: Tensor,
    uploads: Tensor,
    weights: Tensor,
    slots: Sequence[Slot],
    statistic: Statistic = "mean",
) -> Tensor:
    """New buffer vector ``[b]`` from accepted clients: their mean by weight, or their coordinate-wise median.

    ``uploads`` ``[n, b]`` of the type of ``current``, ``weights`` ``[n]`` as the rule chose them (0 = rejected).  Keeps
    ``current`` when nobody was accepted.  Running variances stay non-negative because the weights are.
    """
    accepted = weights > 0
    if current.numel() == 0 or not bool(accepted.any()):
        return current.clone()
    chosen, share = uploads[accepted], weights[accepted].double()
    shares = share / share.sum()
    merged = (shares @ chosen.double()).to(current.dtype) if statistic == "mean" else by_coordinate(chosen, middle)
    for slot in slots:
        if slot.is_counter:
            merged[slot.start : slot.stop] = chosen[:, slot.start : slot.stop].amax(0)
    return merged
