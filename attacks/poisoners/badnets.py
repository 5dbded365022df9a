"""BadNets: a patch in a fixed place, labels changed to the target."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from attacks.poisoner import POISONERS, PoisonContext, Poisoner
from attacks.support.patches import colour_text, paint, scaled
from fedcrucible_core.config import ConfigError


@POISONERS.register("badnets")
class BadNets(Poisoner):
    """A square patch on a fixed place: x' = x * (1 - o*m) + o*m*colour with mask m and opacity o; label -> target.

    By default a white 3x3 square in the bottom-right corner, flush with the edges.  ``size`` and ``margin`` are pixels
    on images 32 pixels high and scale with the image's height H by H/32, rounded half up, the size to at least 1.
    ``row`` and ``col`` are pixels of the image itself.
    """

    paper = (("gu2017badnets", ""), ("wu2022backdoorbench", "size and corner"))
    choices = ("badnets-patch", "poison-scope", "poison-mode")
    cost = "one patch per image"
    traps = ("the target class is left out of the success rate", "one object stamps training and test images")
    size: int = Field(3, ge=1, le=1024, description="Side of the square in pixels at 32 pixels height")
    position: Literal["bottom-right", "bottom-left", "top-left", "top-right", "center"] = Field(
        "bottom-right", description="Corner, or center, of the patch"
    )
    margin: int = Field(0, ge=0, le=1024, description="Distance to the edges in pixels at 32 pixels height")
    row: int = Field(-1, ge=-1, description="First row of the patch in the image's pixels; -1 = by position")
    col: int = Field(-1, ge=-1, description="First column of the patch in the image's pixels; -1 = by position")
    colour: str = Field("white", description="white, black, a value in [0, 1], or r,g,b")
    opacity: float = Field(1.0, ge=0.0, le=1.0, description="Opacity (fraction) of the patch; 0 = invisible")

    @field_validator("colour", mode="before")
    @classmethod
    def _colour_is_one(cls, value: object) -> str:
        return colour_text(value)

    def mask(self, shape: tuple[int, int, int]) -> Tensor:
        """Pixels of the patch on an image of this shape (C, H, W), bool ``[C, H, W]``.

        Raises:
            ConfigError: the patch doesn't fit into the image.
        """
        _, height, width = shape
        side = max(1, scaled(self.size, height))
        margin = 0 if self.position == "center" else scaled(self.margin, height)
        vertical, _, horizontal = self.position.partition("-")
        row = self.row if self.row >= 0 else _start(vertical, height, side, margin)
        col = self.col if self.col >= 0 else _start(horizontal or "center", width, side, margin)
        if row < 0 or col < 0 or row + side > height or col + side > width:
            raise ConfigError(
                "attack.badnets.size",
                self.size,
                f"a {side}x{side} patch at row {row}, column {col} doesn't fit into images of {height}x{width}",
            )
        mask = torch.zeros(shape, dtype=torch.bool)
        mask[:, row : row + side, col : col + side] = True
        return mask

    def stamp(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> Tensor:
        """Put the patch on images ``[n, C, H, W]`` in [0, 1]; returns a new tensor.

        Raises:
            ConfigError: the patch doesn't fit, or a colour of three values meets images of another channel number.
        """
        channels, height, width = x.shape[1:]
        return paint(x, self.mask((channels, height, width)), self.colour, self.opacity, "attack.badnets.colour")


def _start(side_of_image: str, length: int, side: int, margin: int) -> int:
    if side_of_image in ("top", "left"):
        return margin
    if side_of_image in ("bottom", "right"):
        return length - side - margin
    return (length - side) // 2
