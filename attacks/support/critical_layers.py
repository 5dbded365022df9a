"""Which layers carry a backdoor: forward and backward substitution between a clean and a poisoned model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fedcrucible_core.learning.vector import Slot
from fedcrucible_core.learning.weights import Weights

Success = Callable[[Weights], float]
"""Backdoor success (0..1) of a model on held-out triggered images."""


def with_layers(base: Tensor, other: Tensor, slots: Sequence[Slot]) -> Tensor:
    """A copy of ``base [d]`` whose named parameters ``slots`` come from ``other [d]``."""
    mixed = base.clone()
    for slot in slots:
        mixed[slot.start : slot.stop] = other[slot.start : slot.stop]
    return mixed


def coordinates(d: int, slots: Sequence[Slot]) -> Tensor:
    """The coordinates of named parameters, bool ``[d]``."""
    mask = torch.zeros(d, dtype=torch.bool)
    for slot in slots:
        mask[slot.start : slot.stop] = True
    return mask


def ranked_layers(
    benign: Weights, malicious: Weights, slots: Sequence[Slot], success: Success
) -> tuple[list[int], float]:
    """Numbers of the slots, the most critical first, and the malicious model's success (forward substitution).

    A layer is as critical as the backdoor loses success when that layer alone is taken from the clean model; equals
    stay in the model's order.
    """
    whole = success(malicious)

    def change(slot: Slot) -> float:
        mixed = with_layers(malicious.parameters, benign.parameters, [slot])
        return success(Weights(mixed, malicious.buffers)) - whole

    changes = [change(slot) for slot in slots]
    return sorted(range(len(slots)), key=lambda i: changes[i]), whole


def critical_layers(
    benign: Weights, malicious: Weights, slots: Sequence[Slot], success: Success, tau: float
) -> list[int]:
    """L*: numbers of the slots that make the clean model as good a backdoor as tau times the malicious one.

    Backward substitution: the malicious model's layers enter the clean model one by one, the most critical first, until
    its success is at least tau times the malicious model's.  The clean model's buffers stay.  All layers when even they
    don't reach it; none when the malicious model has no success at all.
    """
    order, whole = ranked_layers(benign, malicious, slots, success)
    if whole <= 0.0:
        return []
    mixed = benign.parameters
    for count, number in enumerate(order, start=1):
        mixed = with_layers(mixed, malicious.parameters, [slots[number]])
        if success(Weights(mixed, benign.buffers)) >= tau * whole:
            return order[:count]
    return order
