"""A small encoder that hides bits in an image, and the decoder that reads them (StegaStamp's idea, reduced)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PLANES = 8
"""Channels of the secret's image."""


class Encoder(nn.Module):
    """A residual in (-1, 1) for images ``[n, C, H, W]`` and bits ``[n, b]``: a U-Net of one level.

    The bits become an image of a quarter of the size, enlarged, which is stacked on the picture.
    """

    def __init__(self, shape: tuple[int, int, int], bits: int) -> None:
        super().__init__()
        channels, height, width = shape
        self.size = height, width
        self.coarse = math.ceil(height / 4), math.ceil(width / 4)
        self.secret = nn.Linear(bits, self.coarse[0] * self.coarse[1] * PLANES)
        self.enter = nn.Conv2d(channels + PLANES, 16, 3, padding=1)
        self.down = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.inner = nn.Conv2d(32, 32, 3, padding=1)
        self.up = nn.Conv2d(48, 16, 3, padding=1)
        self.out = nn.Conv2d(16, channels, 1)

    def forward(self, x: Tensor, bits: Tensor) -> Tensor:
        """tanh of the network's output, ``[n, C, H, W]``."""
        secret = F.relu(self.secret(bits)).view(len(x), PLANES, *self.coarse)
        fine = F.relu(self.enter(torch.cat([x, F.interpolate(secret, size=self.size, mode="nearest")], 1)))
        coarse = F.relu(self.inner(F.relu(self.down(fine))))
        joined = torch.cat([fine, F.interpolate(coarse, size=self.size, mode="nearest")], 1)
        return torch.tanh(self.out(F.relu(self.up(joined))))


class Decoder(nn.Module):
    """The logit of every bit, from images ``[n, C, H, W]``: three convolutions of stride 2 and a linear layer."""

    def __init__(self, shape: tuple[int, int, int], bits: int) -> None:
        super().__init__()
        channels, height, width = shape
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 16, 3, stride=2, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(inplace=True),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 32, 3, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(32 * math.ceil(height / 8) * math.ceil(width / 8), bits),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[n, b]``; above 0 = the bit is 1."""
        logits: Tensor = self.layers(x)
        return logits
