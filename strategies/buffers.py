"""Buffers after aggregation: running statistics are averaged, counters copied from the largest (SPEC 0)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from learning.vector import Slot


def aggregate_buffers(current: Tensor, uploads: Tensor, weights: Tensor, slots: Sequence[Slot]) -> Tensor:
    """New buffer vector ``[b]`` from accepted clients.

    ``uploads`` float32 ``[n, b]``, ``weights`` ``[n]`` as the rule chose them (0 = rejected).  Keeps ``current`` when
    nobody was accepted.  Running variances stay non-negative because the weights are.
    """
    accepted = weights > 0
    if current.numel() == 0 or not bool(accepted.any()):
        return current.clone()
    chosen, share = uploads[accepted], weights[accepted].double()
    merged = ((share / share.sum()) @ chosen.double()).float()
    for slot in slots:
        if slot.is_counter:
            merged[slot.start : slot.stop] = chosen[:, slot.start : slot.stop].amax(0)
    return merged


def variances_valid(uploads: Tensor, slots: Sequence[Slot]) -> Tensor:
    """Boolean ``[n]``: False for a client whose running variances are negative."""
    valid = torch.ones(len(uploads), dtype=torch.bool)
    for slot in slots:
        if slot.name.endswith("running_var"):
            valid &= (uploads[:, slot.start : slot.stop] >= 0).all(1)
    return valid
