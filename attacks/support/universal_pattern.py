"""One pattern for all images, trained until what answers takes them for the target."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Answers = Callable[[Tensor], Tensor]
"""Images ``[n, C, H, W]`` in [0, 1] to logits ``[n, C]``, differentiable."""
Put = Callable[[Tensor, Tensor], Tensor]
"""Images ``[n, C, H, W]`` and the pattern ``[C, H, W]`` to images with it, differentiable in the pattern."""


def universal_pattern(
    answers: Answers,
    images: Tensor,
    start: Tensor,
    put: Put,
    target: int,
    *,
    bounds: tuple[float, float],
    steps: int,
    lr: float,
    batch_size: int,
    rng: torch.Generator,
) -> Tensor:
    """Adam on the mean cross-entropy of answers with the target, from ``start`` ``[C, H, W]``; pixels stay in bounds.

    Each of ``steps`` steps sees ``batch_size`` of the images (at most all), drawn with replacement; without images
    nothing is trained. Returns a new tensor, without gradient.
    """
    pattern = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([pattern], lr)
    for _ in range(steps if len(images) else 0):
        batch = images[torch.randint(len(images), (min(batch_size, len(images)),), generator=rng)]
        said = answers(put(batch, pattern))
        optimiser.zero_grad()
        loss = F.cross_entropy(said, torch.full((len(batch),), target, device=said.device))
        torch.autograd.backward(loss, inputs=[pattern])
        optimiser.step()
        with torch.no_grad():
            pattern.clamp_(*bounds)
    return pattern.detach()


def patched(mask: Tensor) -> Put:
    """Puts the pattern in the place of the pixels that ``mask`` bool ``[C, H, W]`` names."""
    return lambda images, pattern: torch.where(mask, pattern, images)


def added(mask: Tensor) -> Put:
    """Adds the pattern to the pixels that ``mask`` bool ``[C, H, W]`` names; sums are cut to [0, 1]."""
    return lambda images, pattern: (images + torch.where(mask, pattern, 0.0)).clamp(0.0, 1.0)
