"""A Hugging Face image processor's arithmetic, done on a batch of tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fedcrucible_core.config import ConfigError
from fedcrucible_core.foundation.pixels import center_crop, to_channels

MODES = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers of the resampling filters that CLIP and SigLIP processors use."""


@dataclass(frozen=True)
class Preprocess:
    """Resize, crop and normalise as the processor it was read from; equal to it within 1e-2.

    The processor works on one picture at a time, this on a batch. Both resize bytes: bicubic overshoots at edges and
    bytes are clipped between the two passes, so resizing floats would differ by up to 0.3 after normalisation.
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

    def __call__(self, images: Tensor, device: torch.device | str = "cpu") -> Tensor:
        """Images ``[n, 1 or 3, H, W]`` in [0, 1] to the model's input ``[n, 3, h, w]`` on ``device``.

        Bytes are resized on the CPU, so every device sees the same pictures.
        """
        pictures = images.detach().to("cpu", torch.float32).clamp(0.0, 1.0).mul(255.0).round_().to(torch.uint8)
        return self._normalised(self._resized(pictures).to(device).to(torch.float32) / 255.0)

    def smooth(self, images: Tensor) -> Tensor:
        """Nearly the same of floats where they lie, so that a gradient reaches the pixels."""
        return self._normalised(self._resized(images).clamp(0.0, 1.0))

    def _resized(self, pictures: Tensor) -> Tensor:
        height, width = pictures.shape[-2:]
        if self.edge:
            short = min(height, width)
            height, width = height * self.edge // short, width * self.edge // short
        elif self.size:
            height, width = self.size
        if pictures.shape[-2:] != (height, width):
            pictures = F.interpolate(pictures, size=(height, width), mode=self.mode, antialias=True)
        return center_crop(pictures, *self.crop) if self.crop else pictures

    def _normalised(self, pixels: Tensor) -> Tensor:
        pixels, device = to_channels(pixels, 3), pixels.device
        mean = torch.tensor(self.mean, device=device)[None, :, None, None]
        std = torch.tensor(self.std, device=device)[None, :, None, None]
        return (pixels - mean) / std


def _entry(size: Any, name: str) -> Any:
    return size.get(name) if isinstance(size, dict) else getattr(size, name, None)
