"""MixMatch: guesses for what has no label, and blends of samples with their labels (berthelot2019mixmatch)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def sharpened(probabilities: Tensor, temperature: float) -> Tensor:
    """p^(1/T) / sum p^(1/T) of each row of ``[n, C]`` (eq. 7). E.g. [.6, .4] at T = .5: [.692, .308]."""
    powers = probabilities.pow(1.0 / temperature)
    return powers / powers.sum(1, keepdim=True)


def mixing_weight(alpha: float, rng: torch.Generator) -> float:
    """l ~ Beta(alpha, alpha), then max(l, 1 - l), so that the first of two samples weighs more (eqs. 8, 9)."""
    first, second = (_log_gamma_draw(alpha, rng) for _ in range(2))
    drawn = float(torch.sigmoid(first - second))  # x / (x + y) of two gamma variables, from their logarithms
    return max(drawn, 1.0 - drawn)


def _log_gamma_draw(alpha: float, rng: torch.Generator) -> Tensor:
    """log of a draw from Gamma(alpha, 1), alpha > 0: Marsaglia and Tsang's method at alpha + 1, times u^(1/alpha)."""
    d = alpha + 2.0 / 3.0
    c = 1.0 / (9.0 * d) ** 0.5
    while True:
        normal = torch.randn((), generator=rng, dtype=torch.float64)
        uniform = torch.rand((), generator=rng, dtype=torch.float64)
        volume = (1.0 + c * normal) ** 3
        if float(volume) > 0.0 and float(uniform.log()) < float(
            0.5 * normal.square() + d - d * volume + d * volume.log()
        ):
            small = torch.rand((), generator=rng, dtype=torch.float64).clamp(min=1e-300)
            drawn: Tensor = (d * volume).log() + small.log() / alpha
            return drawn


def blended(values: Tensor, order: Tensor, weight: float) -> Tensor:
    """``weight v_i + (1 - weight) v_order(i)`` of rows ``[n, ...]`` (eqs. 10, 11)."""
    return weight * values + (1.0 - weight) * values[order]


def mixmatch_loss(logits: Tensor, targets: Tensor, labelled: int, unlabelled_weight: float) -> Tensor:
    """CE of the first ``labelled`` rows plus ``unlabelled_weight`` times the mean squared error of the others (eq. 5).

    Args:
        logits: ``[n, C]``.
        targets: class probabilities ``[n, C]``.
        labelled: rows of ``logits`` that came from labelled samples, 1 .. n.
        unlabelled_weight: >= 0.

    Returns:
        Scalar; without any unlabelled row the first term alone.
    """
    supervised = -(targets[:labelled] * F.log_softmax(logits[:labelled], 1)).sum(1).mean()
    if labelled == len(logits):
        return supervised
    errors = (logits[labelled:].softmax(1) - targets[labelled:]).square().mean()
    return supervised + unlabelled_weight * errors
