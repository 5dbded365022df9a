"""Losses of guided unlearning: what a label's likelihood costs, and how far answers are from a teacher's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def log_likelihood(logits: Tensor, labels: Tensor, epsilon: float = 1e-6) -> Tensor:
    """Mean of ``log(p(y) + epsilon)`` over samples; minimised, it makes their labels unlikely (xu2025cgd, L_un).

    Args:
        logits: ``[b, C]``, b >= 1.
        labels: int64 ``[b]`` in 0..C-1.
        epsilon: bounds it from below by log(epsilon), -13.8 by default.

    Returns:
        A scalar at most log(1 + epsilon). E.g. of logits [[0, 0]] and label 0: log(0.500001) = -0.693145.
    """
    own = F.softmax(logits, 1).gather(1, labels[:, None])[:, 0]
    return (own + epsilon).log().mean()


def softened_divergence(student: Tensor, teacher: Tensor, temperature: float = 3.0) -> Tensor:
    """``T^2 KL(softmax(teacher / T) || softmax(student / T))``, mean over samples (xu2025cgd, L_d).

    A teacher's row that isn't finite is taken for one that prefers no class.

    Args:
        student: logits ``[b, C]``, b >= 1.
        teacher: logits ``[b, C]``; no gradient flows into them.  Raw cosines are nearly uniform: of .35 and nine times
            .25 the largest share at T = 3 is .103.
        temperature: T > 0.

    Returns:
        A scalar >= 0.
    """
    known = torch.isfinite(teacher).all(1, keepdim=True)
    target = F.softmax(torch.where(known, teacher, 0.0).detach() / temperature, 1)
    divergence = F.kl_div(F.log_softmax(student / temperature, 1), target, reduction="batchmean")
    return temperature**2 * divergence
