"""Fitting images to a shape, and matching their moments: ``[n, C, H, W]`` float32 in [0, 1] throughout."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

GREY_WEIGHTS = (0.299, 0.587, 0.114)
"""ITU-R BT.601 luma of red, green and blue."""


def to_channels(images: Tensor, channels: int) -> Tensor:
    """Convert between grey (1) and colour (3): grey is repeated, colour becomes its luma.

    Raises:
        ValueError: any other number of channels.
    """
    have = images.shape[1]
    if have == channels:
        return images
    if have == 1 and channels == 3:
        return images.expand(-1, 3, -1, -1)
    if have == 3 and channels == 1:
        weights = torch.tensor(GREY_WEIGHTS, dtype=images.dtype, device=images.device)
        return (images * weights[None, :, None, None]).sum(dim=1, keepdim=True)
    raise ValueError(f"can't turn images of {have} channels into {channels}")


def resize(images: Tensor, height: int, width: int) -> Tensor:
    """Antialiased bicubic resize, clipped to [0, 1] because bicubic overshoots."""
    if images.shape[-2:] == (height, width):
        return images
    resized = F.interpolate(images, size=(height, width), mode="bicubic", antialias=True, align_corners=False)
    return resized.clamp_(0.0, 1.0)


def center_crop(images: Tensor, height: int, width: int) -> Tensor:
    """The middle ``height x width``; where an image is smaller, zeros are put around it."""
    down, right = max(height - images.shape[-2], 0), max(width - images.shape[-1], 0)
    if down or right:
        images = F.pad(images, (right // 2, right - right // 2, down // 2, down - down // 2))
    top, left = (images.shape[-2] - height) // 2, (images.shape[-1] - width) // 2
    return images[..., top : top + height, left : left + width]


def fit(images: Tensor, shape: Sequence[int]) -> Tensor:
    """Bring images to ``(C, H, W)``: the largest middle part of the right proportions, resized, grey or colour."""
    channels, height, width = shape
    have_height, have_width = images.shape[-2:]
    if have_height * width != have_width * height:
        if have_height * width > have_width * height:
            have_height = max(1, round(have_width * height / width))
        else:
            have_width = max(1, round(have_height * width / height))
        images = center_crop(images, have_height, have_width)
    return to_channels(resize(images, height, width), channels).contiguous()


def moment_match(images: Tensor, mean: Sequence[float], std: Sequence[float], clip: bool = True) -> Tensor:
    """Give each channel of a set the mean and standard deviation of a data set's published constants.

    ``x <- (x - mean_gen) / std_gen * std_pub + mean_pub``, then clipped to [0, 1] (docs/choices.md#moment-match). A
    constant channel becomes the published mean.
    """
    flat = images.transpose(0, 1).flatten(1).to(torch.float64)
    shape = (1, -1, 1, 1)
    own_mean, own_std = flat.mean(dim=1).reshape(shape), flat.std(dim=1, unbiased=False).clamp_min(1e-12).reshape(shape)
    target_mean = torch.tensor(mean, dtype=torch.float64).reshape(shape)
    target_std = torch.tensor(std, dtype=torch.float64).reshape(shape)
    matched = ((images.to(torch.float64) - own_mean) / own_std * target_std + target_mean).to(images.dtype)
    return matched.clamp_(0.0, 1.0) if clip else matched
