"""Pictures as data sets store them, so that what is counted or compared in grey levels works on any set."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor


def stored_pixels(images: Tensor) -> Tensor:
    """Images uint8 ``[n, C, H, W]``: as they are, or float32 in [0, 1] rounded to grey levels of 255."""
    return (images * 255.0).round().to(torch.uint8) if images.is_floating_point() else images


def checksums(images: Tensor) -> list[int]:
    """A number from 0 to 2^32 - 1 of each image's own pixels in whole grey levels: chance that images bring along."""
    return [zlib.crc32(picture.cpu().contiguous().numpy().tobytes()) for picture in stored_pixels(images)]
