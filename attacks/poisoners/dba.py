"""DBA: a trigger in four parts, each attacker trains one of them."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from attacks.poisoner import POISONERS, PoisonContext, Poisoner
from attacks.support.patches import colour_text, paint, scaled
from fedcrucible_core.config import ConfigError

PARTS = 4

Box = tuple[int, int, int, int]
"""First row, first column, height, width."""


@POISONERS.register("dba")
class Dba(Poisoner):
    """Distributed backdoor: attacker j trains with part j mod 4 of the trigger, success is measured with all four.

    ``bars``: four horizontal bars of 1 x ``length`` pixels in two rows and two columns, ``gap`` pixels between them,
    ``shift`` pixels from the top-left corner; by default at (row, column) (0,0), (0,9), (4,0), (4,9).
    ``square``: a ``side`` x ``side`` square, ``shift`` pixels from the bottom-right corner, cut into 2x2, 2x3, 3x2 and
    3x3 (for side 5; in general at floor(side / 2)).  All lengths are pixels on images 32 pixels high and scale with the
    height H by H/32, rounded half up, bars to at least one pixel.

    Attackers are numbered in the order of their partitions; with fewer than four, parts of the test trigger are never
    trained, which reports say.
    """

    paper = (("xie2020dba", "positions of its public code"), ("zhuang2024lp", "square, as in its public code"))
    choices = ("dba-parts",)
    cost = "one patch per image"
    traps = (
        "four different parts; their union is the test trigger",
        "target-class images are left out of the success rate",
    )
    geometry: Literal["bars", "square"] = Field("bars", description="Four bars, or a square cut in four")
    length: int = Field(6, ge=1, le=1024, description="Length of a bar in pixels at 32 pixels height")
    side: int = Field(5, ge=2, le=1024, description="Side of the square in pixels at 32 pixels height")
    gap: int = Field(3, ge=0, le=1024, description="Pixels between bars, both ways, at 32 pixels height")
    shift: int = Field(0, ge=0, le=1024, description="Distance of the trigger to its corner at 32 pixels height")
    colour: str = Field("white", description="white, black, a value in [0, 1], or r,g,b")

    @field_validator("colour", mode="before")
    @classmethod
    def _colour_is_one(cls, value: object) -> str:
        return colour_text(value)

    def notes(self, attackers: int) -> tuple[str, ...]:
        """Which parts nobody trains."""
        if not 0 < attackers < PARTS:
            return ()
        return (f"{attackers} attackers train {attackers} of the {PARTS} parts of the trigger it is tested with",)

    def part_mask(self, shape: tuple[int, int, int], part: int) -> Tensor:
        """Pixels of part ``part`` mod 4 on an image of this shape (C, H, W), bool ``[C, H, W]``."""
        mask = torch.zeros(shape, dtype=torch.bool)
        row, column, high, wide = self._boxes(shape)[part % PARTS]
        mask[:, row : row + high, column : column + wide] = True
        return mask

    def mask(self, shape: tuple[int, int, int]) -> Tensor:
        """Pixels of all parts together.

        Raises:
            ConfigError: the trigger doesn't fit into the image.
        """
        return torch.stack([self.part_mask(shape, part) for part in range(PARTS)]).any(0)

    def stamp(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> Tensor:
        """This attacker's part, or all four, on images ``[n, C, H, W]`` in [0, 1]; returns a new tensor."""
        shape = (x.shape[1], x.shape[2], x.shape[3])
        mask = self.mask(shape) if ctx.part is None else self.part_mask(shape, ctx.part)
        return paint(x, mask, self.colour, 1.0, "attack.dba.colour")

    def _boxes(self, shape: tuple[int, int, int]) -> list[Box]:
        _, height, width = shape
        boxes = self._bars(height) if self.geometry == "bars" else self._squares(height, width)
        if any(r < 0 or c < 0 or r + h > height or c + w > width for r, c, h, w in boxes):
            key = "length" if self.geometry == "bars" else "side"
            allowed = f"with shift {self.shift} the trigger doesn't fit into images of {height}x{width}"
            raise ConfigError(f"attack.dba.{key}", getattr(self, key), allowed)
        return boxes

    def _bars(self, height: int) -> list[Box]:
        thick, long = max(1, scaled(1, height)), max(1, scaled(self.length, height))
        gap, shift = scaled(self.gap, height), scaled(self.shift, height)
        rows, columns = (shift, shift + thick + gap), (shift, shift + long + gap)
        return [(row, column, thick, long) for row in rows for column in columns]

    def _squares(self, height: int, width: int) -> list[Box]:
        side, shift = max(2, scaled(self.side, height)), scaled(self.shift, height)
        top, left, cut = height - side - shift, width - side - shift, side // 2
        halves = ((0, cut), (cut, side - cut))
        return [(top + r, left + c, high, wide) for r, high in halves for c, wide in halves]
