"""Gradient through the solution of an inner problem, by fixed-point iteration."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Loss = Callable[[Tensor], Tensor]
"""Scalar of the inner variable; it may use the outer parameters, which require gradients."""


def implicit_gradients(
    inner: Loss, at: Tensor, outer_gradient: Tensor, parameters: Sequence[Tensor], steps: int, rate: float
) -> list[Tensor]:
    """What d outer / d parameters has beside the direct part, because the inner solution moves (grazzi2020hyper).

    The inner variable p solves p = Phi(p, w) with Phi = p - rate * d inner / dp.  The part is (dPhi/dw)^T v, where v is
    the fixed point of v <- (dPhi/dp)^T v + d outer / dp, iterated ``steps`` times from 0.

    Args:
        inner: the inner loss, minimised over p.
        at: p, the (approximate) solution, any shape.
        outer_gradient: d outer / dp at p, of the same shape.
        parameters: w.
        steps: iterations, >= 1.
        rate: step width of Phi, > 0.

    Returns:
        One tensor per parameter.  E.g. inner (p - w)^2 / 2, outer p^2 / 2 at w = p = 1: 1 - (1 - rate)^steps.
    """
    point = at.detach().clone().requires_grad_()
    gradient = torch.autograd.grad(inner(point), point, create_graph=True)[0]
    mapped = point - rate * gradient
    v = torch.zeros_like(outer_gradient)
    for _ in range(steps):
        v = torch.autograd.grad((mapped * v).sum(), point, retain_graph=True)[0] + outer_gradient
    found = torch.autograd.grad((mapped * v).sum(), parameters, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for w, g in zip(parameters, found, strict=True)]
