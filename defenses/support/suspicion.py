"""What splitters by scores share: how surprised something is by a label, and where suspicion begins."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from defenses.fresh_models import OwnRows
from defenses.kernels.ranks import above_gap, above_mixture, above_otsu, top_share
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.evaluation import logits

Cut = Literal["otsu", "mixture", "gap", "share"]
"""Where the suspicious part of a score's distribution begins."""
FORWARD_BATCH = 500
"""Samples per forward pass."""
LEAST = 0.02
"""Share (fraction) of rows that lie above a gap at least: single outliers are no part."""


def surprise(answers: Tensor, labels: Tensor) -> Tensor:
    """-log p(label) in nats, float64 ``[n]``, of logits ``answers [n, C]``: how little they expect the labels.

    A row whose logits aren't all finite, or that has no label (-1), counts as surprised as the most surprised one.
    """
    values, labels = F.log_softmax(answers.detach().cpu().to(torch.float64), dim=1), labels.cpu()
    own = -values.gather(1, labels.clamp(min=0)[:, None])[:, 0]
    usable = finite_rows(answers) & torch.isfinite(own) & (labels >= 0)
    worst = own[usable].max() if bool(usable.any()) else torch.zeros((), dtype=torch.float64)
    return torch.where(usable, own, worst)


def finite_rows(answers: Tensor) -> Tensor:
    """Rows, bool ``[n]``, of which every logit is finite: of others nothing is known."""
    return torch.isfinite(answers.detach()).all(1).cpu()


def suspicious(scores: Tensor, cut: Cut, share: float) -> Tensor:
    """Rows, bool ``[n]``, whose score is too high: above a cut of the distribution, or the highest ``share``."""
    if cut == "share":
        return top_share(scores, share)
    if cut == "gap":
        return above_gap(scores, LEAST)
    return above_otsu(scores) if cut == "otsu" else above_mixture(scores)


def model_logits(model: nn.Module, data: Labeled) -> Tensor:
    """A trained model's logits ``[n, C]`` of the samples, in eval mode, without gradient."""
    if isinstance(model, OwnRows):
        return model.forward(data.inputs)
    return logits(model, data.inputs, FORWARD_BATCH, next(model.parameters()).device)


def model_surprise(model: nn.Module, data: Labeled) -> Tensor:
    """-log p(label) in nats, float64 ``[n]``, of a trained model."""
    return surprise(model_logits(model, data), data.labels)
