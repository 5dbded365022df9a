"""Losses of ensemble distillation on a labelled set."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

NO_LABEL = -1


def distillation_loss(
    student: Tensor, teacher: Tensor, labels: Tensor, alpha: float = 0.2, temperature: float = 1.0
) -> Tensor:
    """``alpha CE(y, student) + (1 - alpha) tau^2 KL(softmax(teacher / tau) || softmax(student / tau))`` of each sample.

    The teacher is the first of the two distributions (li2024bdfmfl prints the student first).  A sample of label -1
    has no first term.

    Args:
        student: logits ``[b, C]``.
        teacher: logits ``[b, C]``, of an ensemble their mean; no gradient flows into them.
        labels: int64 ``[b]``.
        alpha: weight of the labels, in [0, 1].
        temperature: tau > 0.

    Returns:
        Losses ``[b]``.  E.g. of student [2, 0], teacher [1, 0], label 0, alpha 0.2: 0.0915.
    """
    log_student = F.log_softmax(student / temperature, 1)
    target = F.softmax(teacher.detach() / temperature, 1)
    divergence = F.kl_div(log_student, target, reduction="none").sum(1) * temperature**2
    return alpha * label_loss(student, labels) + (1.0 - alpha) * divergence


def label_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each sample ``[b]``; 0 where the label is -1."""
    return F.cross_entropy(logits, labels, ignore_index=NO_LABEL, reduction="none")


def unlearning_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """``-log(1 - p(y))`` of each sample ``[b]``: falls as its label becomes unlikely; 0 where the label is -1."""
    own = F.one_hot(labels.clamp(min=0), logits.shape[1]).bool()
    others = logits.masked_fill(own, -torch.inf).logsumexp(1)
    return torch.where(labels == NO_LABEL, 0.0, logits.logsumexp(1) - others)
