"""Images moved against a classifier, and the classifier that withstands that."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.support.trained import Fit
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.fit import minimise, training_mode
from fedcrucible_core.learning.models.base import SplitModel

CHUNK = 250
"""Images moved at a time."""


def ascended(
    objective: Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    epsilon: float,
    step: float,
    steps: int,
    start: Tensor | None = None,
) -> Tensor:
    """Images ``[n, C, H, W]`` in [0, 1] after ``steps`` steps of size ``step`` along the sign of the gradient of an
    objective ``[n]``, within ``epsilon`` (largest change of a pixel) of where they were, and in [0, 1].

    ``start``: where they begin, within the same bounds; None = at themselves.
    """
    low, high = (x - epsilon).clamp(min=0.0), (x + epsilon).clamp(max=1.0)
    moved = (x if start is None else torch.minimum(torch.maximum(start, low), high)).detach().clone()
    for _ in range(steps):
        with torch.enable_grad():
            moved.requires_grad_()
            (gradient,) = torch.autograd.grad(objective(moved).sum(), moved)
        moved = torch.minimum(torch.maximum(moved.detach() + step * gradient.sign(), low), high)
    return moved.detach()


def moved_away(
    model: SplitModel, x: Tensor, y: Tensor, *, epsilon: float, step: float, steps: int, start: Tensor | None = None
) -> Tensor:
    """``ascended`` on the cross-entropy of labels int64 ``[n]``.

    The model is used as it is, so in eval mode no image's answer depends on the others.
    """

    def loss(moved: Tensor) -> Tensor:
        return F.cross_entropy(model(moved), y, reduction="none")

    return ascended(loss, x, epsilon=epsilon, step=step, steps=steps, start=start)


def train_robust(
    model: SplitModel, data: Labeled, fit: Fit, epochs: int, *, epsilon: float, steps: int, rng: torch.Generator
) -> None:
    """Adversarial training: every batch is moved away first, from a random start, in eval mode; model in place."""

    def loss(rows: Tensor) -> Tensor:
        x, y = data.inputs[rows], data.labels[rows]
        start = x + epsilon * (torch.rand(x.shape, generator=rng) * 2.0 - 1.0)
        model.eval()
        hard = moved_away(model, x, y, epsilon=epsilon, step=2.5 * epsilon / steps, steps=steps, start=start)
        model.train()
        return F.cross_entropy(model(hard), y)

    minimise(model.parameters(), loss, len(data), fit, rng, epochs=epochs, mode=partial(training_mode, model))


def moved_in_chunks(model: SplitModel, x: Tensor, y: Tensor, *, epsilon: float, step: float, steps: int) -> Tensor:
    """``moved_away`` for many images, a chunk at a time."""
    parts = zip(torch.split(x, CHUNK), torch.split(y, CHUNK), strict=True)
    return torch.cat([moved_away(model, a, b, epsilon=epsilon, step=step, steps=steps) for a, b in parts])
