"""Two raised frequencies: what CTRL on colour and its deviation for brightness share."""

from __future__ import annotations

from abc import abstractmethod

from pydantic import Field
from torch import Tensor

from attacks.poisoner import PoisonContext, Poisoner
from attacks.support.cosine_basis import basis_image

SAME = -1.0


class RaisedFrequencies(Poisoner):
    """Adds a fixed image: DCT coefficients (H/2 - 1, W/2 - 1) and (H - 1, W - 1) raised by a magnitude."""

    magnitude: float = Field(
        100.0, ge=0.0, le=10_000.0, description="What coefficients are raised by in training, grey levels of 255"
    )
    test_magnitude: float = Field(SAME, ge=SAME, le=10_000.0, description="The same at test time; -1 = as in training")

    def wave(self, height: int, width: int) -> Tensor:
        """What a magnitude of 1 adds to a plane, in grey levels of 255, float64 ``[H, W]``."""
        middle = basis_image(max(height // 2 - 1, 0), max(width // 2 - 1, 0), height, width)
        return middle + basis_image(height - 1, width - 1, height, width)

    @abstractmethod
    def added(self, shape: tuple[int, int, int]) -> Tensor:
        """What a magnitude of 1 adds to an image, in grey levels of 255, float64 ``[C, H, W]``."""

    def plant(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> Tensor:
        """With the magnitude of training."""
        return self._raised(x, self.magnitude)

    def stamp(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> Tensor:
        """Add the image to images ``[n, C, H, W]`` in [0, 1] and clip; returns a new tensor."""
        return self._raised(x, self.magnitude if self.test_magnitude == SAME else self.test_magnitude)

    def _raised(self, x: Tensor, magnitude: float) -> Tensor:
        channels, height, width = x.shape[1:]
        wave = (magnitude / 255.0) * self.added((channels, height, width))
        return (x + wave.to(x.dtype).to(x.device)).clamp_(0.0, 1.0)
