"""Splits of one fixed size, resized."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.datasets.base import PublishedData
from fedcrucible_core.learning.datasets.pictures import resized


def in_size(data: PublishedData, side: int) -> PublishedData:
    """Every image stretched to ``side`` x ``side`` by :func:`resized`; unchanged where it has that size, or at 0."""
    if side == 0:
        return data
    channels, *size = data.info.image_shape
    if size == [side, side]:
        return data
    return replace(
        data,
        info=replace(data.info, shape=(channels, side, side)),
        train=_resized(data.train, side),
        test=None if data.test is None else _resized(data.test, side),
        validation=None if data.validation is None else _resized(data.validation, side),
    )


def _resized(split: Labeled, side: int) -> Labeled:
    images = torch.empty((len(split), split.inputs.shape[1], side, side), dtype=torch.uint8)
    for row, image in enumerate(split.inputs):
        images[row] = _one(image, side)
    return Labeled(images, split.labels, split.rows)


def _one(image: Tensor, side: int) -> Tensor:
    pixels = image.permute(1, 2, 0).numpy()
    made = torch.from_numpy(resized(pixels[..., 0] if pixels.shape[-1] == 1 else pixels, side))
    return made[None] if made.ndim == 2 else made.permute(2, 0, 1)
