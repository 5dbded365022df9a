"""Natural attributes of images as numbers, so that one threshold divides training and test images alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from attacks.support.stored import stored_pixels

CHUNK = 1000
"""Images measured at a time."""


def _brightness(grey: Tensor) -> Tensor:
    return grey.sum((1, 2))


def _darkness(grey: Tensor) -> Tensor:
    return -grey.sum((1, 2))


def _contrast(grey: Tensor) -> Tensor:
    pixels = grey.shape[1] * grey.shape[2]
    return pixels * (grey * grey).sum((1, 2)) - grey.sum((1, 2)) ** 2  # n^2 times the variance: still whole numbers


def _stripes(grey: Tensor) -> Tensor:
    return _variation(grey.sum(2)) - _variation(grey.sum(1))


def _variation(profile: Tensor) -> Tensor:
    return profile.diff(dim=1).abs().sum(1)


STATISTICS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "bright": _brightness,
    "dark": _darkness,
    "high-contrast": _contrast,
    "striped": _stripes,
}
"""Rule -> how much of it each image has, from grey values int64 ``[n, H, W]``."""


def attribute(images: Tensor, rule: str) -> Tensor:
    """How much of ``rule`` each image has, int64 ``[n]``, from uint8 ``[n, C, H, W]``, or float32 in [0, 1].

    Channels are summed.  ``bright``: sum of the pixels; ``dark``: its negative; ``high-contrast``: their variance times
    the squared number of pixels; ``striped`` (horizontally): how much the sums of rows vary from row to row, minus the
    same of columns.  Whole numbers, so that no order of summation can move an image over a threshold.
    """
    chunks = torch.split(stored_pixels(images), CHUNK)
    parts = [STATISTICS[rule](chunk.sum(1, dtype=torch.int64)) for chunk in chunks]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.int64)


def top_share_threshold(values: Tensor, share: float) -> int:
    """The k-th largest of ``values`` int64 ``[n]``, k = floor(share * n + 1/2) but at least 1; ValueError for none."""
    if not len(values):
        raise ValueError("a threshold needs at least one value")
    count = min(len(values), max(1, math.floor(share * len(values) + 0.5)))
    return int(values.sort(descending=True).values[count - 1])
