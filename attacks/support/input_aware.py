"""The networks of the input-aware attack, and what their training compares."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TINY = 1e-7


def fitting_steps(height: int, width: int) -> int:
    """How often an image is halved: three times where its sides allow that (32), else twice (28), once, or never."""
    return next(steps for steps in (3, 2, 1, 0) if height % 2**steps == 0 == width % 2**steps)


class Translator(nn.Module):
    """Image to image: ``steps`` times halved and doubled again by pairs of convolutions; values in (0, 1)."""

    def __init__(self, inputs: int, outputs: int, width: int, steps: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = inputs
        for step in range(steps):
            layers += [*_pair(channels, width * 2**step), nn.MaxPool2d(2)]
            channels = width * 2**step
        layers += _single(channels, channels := width * 2 ** max(steps - 1, 0))
        for step in reversed(range(steps)):
            layers += [nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)]
            layers += _pair(channels, channels := width * 2 ** max(step - 1, 0))
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, outputs, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """tanh(z) / 2 + 1/2 of the last layer's z, ``[n, outputs, H, W]``."""
        made: Tensor = self.layers(x)
        return torch.tanh(made) / 2.0 + 0.5


def _single(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def _pair(inputs: int, outputs: int) -> list[nn.Module]:
    return [*_single(inputs, outputs), *_single(outputs, outputs)]


def sharpened(m: Tensor) -> Tensor:
    """tanh(20 m - 10) / 2 + 1/2: values near 0 or 1, except around m = 1/2."""
    return torch.tanh(20.0 * m - 10.0) / 2.0 + 0.5


def put_on(x: Tensor, pattern: Tensor, mask: Tensor) -> Tensor:
    """x + (pattern - x) * mask, of images ``[n, C, H, W]`` and masks ``[n, 1, H, W]``."""
    return x + (pattern - x) * mask


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Root mean square difference of each pair, ``[n]``."""
    return F.mse_loss(a, b, reduction="none").flatten(1).mean(1).add(1e-16).sqrt()


def diversity(inputs: Tensor, others: Tensor, made: Tensor, made_of_others: Tensor) -> Tensor:
    """Mean over pairs of ||x1 - x2|| / (||f(x1) - f(x2)|| + 1e-7): large where different inputs are answered alike."""
    return (distance(inputs, others) / (distance(made, made_of_others) + TINY)).mean()


def density_excess(mask: Tensor, bound: float) -> Tensor:
    """Mean of max(mask - bound, 0)."""
    return F.relu(mask - bound).mean()
