"""What hides poison from a defence that asks a guide whether labels fit."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def most_like_target(logits: Tensor, labels: Tensor, target: int) -> int:
    """The class whose samples a guide finds most like the target: largest mean probability of the target.

    Of logits ``[n, C]`` and true classes int64 ``[n]``, of which one at least isn't the target; of equal ones the
    first.
    """
    probability = logits.double().softmax(1)[:, target]
    others: list[int] = sorted(set(labels.tolist()) - {target})
    return max(others, key=lambda label: float(probability[labels == label].mean()))


def other_labels(
    labels: Tensor, able: Tensor, share: float, classes: int, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Labels of which floor(share * n + 1/2) of the n that ``able`` bool names became another class, drawn uniformly.

    Returns them, int64, and the rows that changed, int64; the labels given stay as they are.
    """
    rows, changed = able.nonzero().flatten(), labels.clone()
    chosen = rows[torch.randperm(len(rows), generator=rng)[: math.floor(share * len(rows) + 0.5)]]
    changed[chosen] = (changed[chosen] + torch.randint(1, classes, chosen.shape, generator=rng)) % classes
    return changed, chosen
