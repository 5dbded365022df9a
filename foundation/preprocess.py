"""A Hugging Face image processor's arithmetic, done on a batch of tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from config import ConfigError
from foundation.pixels import center_crop, resize, to_channels

MODES = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers of the resampling filters that CLIP and SigLIP processors use."""


@dataclass(frozen=True)
class Preprocess:
    """Resize, crop and normalise as the processor it was read from; equal to it within 1e-2.

    The processor works on one picture at a time in bytes; this works on a whole batch in float32.
    """

    edge: int | None
    """Length of the shorter side after the resize (the other keeps the proportions), or None."""
    size: tuple[int, int] | None
    """Exact height and width after the resize, or None."""
    crop: tuple[int, int] | None
    mode: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def from_processor(cls, processor: Any) -> Preprocess:
        """Read the settings of a transformers image processor. Raises ConfigError for settings unknown here."""
        edge: int | None = None
        size: tuple[int, int] | None = None
        if processor.do_resize:
            wanted = processor.size
            if _entry(wanted, "shortest_edge"):
                edge = int(_entry(wanted, "shortest_edge"))
            elif _entry(wanted, "height"):
                size = (int(_entry(wanted, "height")), int(_entry(wanted, "width")))
            else:
                raise ConfigError("guide.model", str(wanted), "its processor needs a shortest_edge or height size")
        mode = MODES.get(int(processor.resample))
        if mode is None:
            raise ConfigError("guide.model", str(processor.resample), "its resampling must be bilinear or bicubic")
        crop: tuple[int, int] | None = None
        if getattr(processor, "do_center_crop", None):
            crop = (int(_entry(processor.crop_size, "height")), int(_entry(processor.crop_size, "width")))
        plain = not processor.do_normalize
        mean = (0.0, 0.0, 0.0) if plain else tuple(float(value) for value in processor.image_mean)
        std = (1.0, 1.0, 1.0) if plain else tuple(float(value) for value in processor.image_std)
        return cls(edge, size, crop, mode, mean, std)

    def __call__(self, images: Tensor) -> Tensor:
        """Images ``[n, 1 or 3, H, W]`` in [0, 1] to the model's input ``[n, 3, h, w]``."""
        images = to_channels(images.to(torch.float32), 3)
        if self.size:
            images = resize(images, *self.size, mode=self.mode)
        elif self.edge:
            height, width = images.shape[-2:]
            short = min(height, width)
            images = resize(images, height * self.edge // short, width * self.edge // short, mode=self.mode)
        if self.crop:
            images = center_crop(images, *self.crop)
        mean = torch.tensor(self.mean, device=images.device)[None, :, None, None]
        std = torch.tensor(self.std, device=images.device)[None, :, None, None]
        return (images - mean) / std


def _entry(size: Any, name: str) -> Any:
    return size.get(name) if isinstance(size, dict) else getattr(size, name, None)
