"""Certified radius of a smoothed multinomial logistic regression against poisoned data in the last round.

What is claimed.  In the last round, R attackers may move every one of their training images by at most r (Euclidean,
in pixels of [0, 1]; what leaves that range is clipped) and, if ``relabel``, also change every label; otherwise they
train honestly.  Everything before that round, its noise included, is taken as it was.  Then the vote on a test image
stays as it is for every r below the radius, up to the failure probability of the vote's bounds.  Poisoned earlier
rounds, crafted uploads and false sample counts are not covered.

Derivation.  x~ = (normalised image, 1), ||x~|| <= B for every image; theta = (W, b), p = softmax(theta x~), one image's
gradient is (p - y) x~^T.  The Jacobian of softmax has norm <= 1/2, and ||p - y|| <= sqrt 2.

1. The mean loss is convex and (B^2 / 2)-smooth, so a gradient step with lr <= 4 / B^2 moves no two models apart.
2. Moving an image by r moves x~ by at most r / s, s the smallest normalisation constant; its gradient at theta
   changes by at most  (sqrt 2 + ||theta|| B / 2) r / s,  and by sqrt 2 B more if its label changes, too.
3. On the clean path ||theta_k|| <= ||w|| + k lr sqrt 2 B after k steps from the sent model w.
   By 1 to 3, tau steps of plain SGD end at most  A r + F  apart:
       A = lr sum_{k < tau} (sqrt 2 + (||w|| + k lr sqrt 2 B) B / 2) / s,
       F = lr tau sqrt 2 B  (0 without relabelling).
4. The mean moves by at most P (A r + F), P the attackers' summed shares; clipping to a ball is a projection and moves
   nothing further apart.  The copies' noise turns this shift m into a divergence of KL = m^2 / (2 sigma^2).
5. The least divergence from shares (p_A, p_B, rest) to shares with p_A = p_B = q is at q = t sqrt(p_A p_B), rest
   times t, t = 1 / (1 - (sqrt p_A - sqrt p_B)^2), and is ln t.  The vote can't change below it.

The constant of step 2 is ours, for images of any length and with a bias; the published one, sqrt(2 + 2 rho + rho^2),
assumes ||x|| <= 1, takes the bound rho for the norm of a model that is noisy by then, and is used for attacks in
earlier rounds, whose noise one training run doesn't sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SQRT2 = math.sqrt(2.0)


@dataclass(frozen=True)
class LastRound:
    """What is known of the last round of plain SGD on a logistic regression."""

    sent_norm: float
    """||w||, length of the model that was sent out."""
    share: float
    """P, sum of the largest shares that as many clients as there may be attackers had in the mean."""
    lr: float
    steps: int
    """tau, most local steps of any client."""
    input_bound: float
    """B."""
    smallest_std: float
    """s."""


def input_bound(energy: float) -> float:
    """B: no input whose squares add up to at most ``energy``, with a 1 appended, is longer."""
    return math.sqrt(energy + 1.0)


def largest_lr(bound: float) -> float:
    """Learning rate up to which a gradient step moves no two models apart: 4 / B^2."""
    return 4.0 / bound**2


def gradient_change(norm: float, bound: float, smallest_std: float) -> float:
    """Largest change of one image's gradient per unit that the image moves, for a model of this norm."""
    return (SQRT2 + norm * bound / 2.0) / smallest_std


def allowed_shift(lower: Tensor, upper: Tensor, sigma: float) -> Tensor:
    """Shift of the parameters float64 ``[n]`` below which the vote can't change; 0 where it isn't sure at all."""
    sure = lower > upper
    gap = (lower.clamp(min=0.0).sqrt() - upper.clamp(min=0.0).sqrt()).clamp(min=0.0, max=1.0 - 1e-12)
    return torch.where(sure, sigma * (-2.0 * (1.0 - gap.square()).log()).sqrt(), 0.0)


def certified_radius(lower: Tensor, upper: Tensor, sigma: float, past: LastRound, *, relabel: bool) -> Tensor:
    """Radius float64 ``[n]`` in pixels of [0, 1] for vote bounds p_A, p_B ``[n]``; 0 = nothing certified.

    Raises ValueError when the learning rate is too large for step 1 of the derivation.
    """
    bound = past.input_bound
    if past.lr > largest_lr(bound):
        raise ValueError(f"lr = {past.lr}: nothing is certified above {largest_lr(bound):.3g}")
    drift = past.lr * SQRT2 * bound
    per_pixel = past.lr * sum(
        gradient_change(past.sent_norm + k * drift, bound, past.smallest_std) for k in range(past.steps)
    )
    fixed = past.steps * drift if relabel else 0.0
    return ((allowed_shift(lower, upper, sigma) / past.share - fixed) / per_pixel).clamp(min=0.0)
