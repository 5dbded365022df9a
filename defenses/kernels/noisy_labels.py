"""Losses that wrong labels can't drive without bound, and losses that hold what is learned too fast."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Ascent = Literal["flooding", "lga"]
LEAST_PROBABILITY = 1e-7
LEAST_LABEL = 1e-4


def symmetric_cross_entropy(logits: Tensor, labels: Tensor, a: float = 0.1, b: float = 1.0) -> Tensor:
    """``a CE + b RCE`` of each sample (wang2019sce, eq. 6), the reverse one being -sum_c p_c log(onehot_c).

    Probabilities are at least 1e-7 and zeros of the one-hot label are 1e-4, so RCE = 9.21 * (1 - p_y).

    Args:
        logits: ``[b, C]``.
        labels: int64 ``[b]``.
        a: weight of the cross-entropy, >= 0.
        b: weight of the reverse cross-entropy, >= 0.

    Returns:
        Losses ``[b]``.  E.g. of logits [0, 0], label 0: 0.1 * 0.6931 + 0.5 * 9.2103 = 4.6745.
    """
    probabilities = logits.softmax(1).clamp(min=LEAST_PROBABILITY, max=1.0)
    target = F.one_hot(labels, logits.shape[1]).to(logits.dtype).clamp(min=LEAST_LABEL, max=1.0)
    reverse = -(probabilities * target.log()).sum(1)
    return a * F.cross_entropy(logits, labels, reduction="none") + b * reverse


def held_up(losses: Tensor, gamma: float, kind: Ascent, *, per_sample: bool = False) -> Tensor:
    """A batch's loss that doesn't fall below ``gamma``, for it is ascended there (li2021abl, eqs. 3 and 4).

    ``flooding``: |l - gamma| + gamma.  ``lga``: sign(l - gamma) * l.  Applied to the batch's mean, as the authors' code
    does, or with ``per_sample`` to each sample's loss before the mean, as the paper writes.

    Args:
        losses: ``[b]``, each >= 0.
        gamma: where losses are held, >= 0.
        kind: which of the two.
        per_sample: see above.

    Returns:
        Scalar.  E.g. of losses [0.1, 0.7], gamma 0.5: flooding 0.6 of the mean and 0.8 per sample.
    """
    values = losses if per_sample else losses.mean()
    if kind == "flooding":
        return ((values - gamma).abs() + gamma).mean()
    return (torch.sign(values.detach() - gamma) * values).mean()


def raised_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Minus the mean cross-entropy of logits ``[b, C]``: whoever minimises it unlearns the labels ``[b]``."""
    return -F.cross_entropy(logits, labels)
