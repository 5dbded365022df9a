"""Many triggers: each poisoned image shows one of several small patches, each in a place of its own."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from attacks.poisoner import POISONERS, PoisonContext, Poisoner
from attacks.support.patches import scaled
from attacks.support.stored import checksums
from attacks.task import AttackTask
from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.rng import torch_generator


@POISONERS.register("multi-trigger")
class MultiTrigger(Poisoner):
    """``triggers`` different patches, one on each image; label -> target.

    Patch i is a square of black and white pixels, half of them white (rounded up), in a pattern of its own that
    ``seed`` draws; its top-left corner is step floor(i * P / triggers) of the P along the border of all places where a
    square fits, clockwise from the top-left corner: with 8 of them the corners and the middles of the sides.  Among n
    poisoned images each patch is on floor(n / triggers) or one more, drawn.  A test image shows the patch that its own
    pixels choose, so that about as many show each, and ASR is the mean over all of them.

    The published attacks are of several adversaries with triggers of different kinds on different images (parallel);
    here one kind, so that only their number counts.
    """

    paper = (("li2024multitrigger", "parallel attack"),)
    choices = ("many-triggers",)
    cost = "one patch per image"
    traps = ("white patches in several places would be one trigger to a model that doesn't mind the place",)
    triggers: int = Field(8, ge=1, le=1024, description="Number of different patches")
    size: int = Field(3, ge=1, le=1024, description="Side of a patch in pixels at 32 pixels height")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="Seed of the patterns; not the run's seed")

    def notes(self, attackers: int) -> tuple[str, ...]:
        """What ASR is the mean of."""
        return (f"ASR is the mean over {self.triggers} triggers: each image is tested with one of them",)

    def check_task(self, task: AttackTask) -> None:
        """There are so many places and patterns. Raises ConfigError."""
        self.patches(task.info.image_shape)

    def patches(self, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
        """Where each patch lies on images of this shape (C, H, W), bool ``[triggers, H, W]``, and its pixels there.

        Those are float32 ``[triggers, H, W]``: 0 or 1, and 0 elsewhere.

        Raises:
            ConfigError: they don't fit in beside each other, or there are fewer patterns than triggers.
        """
        _, height, width = shape
        side = max(1, scaled(self.size, height))
        if side > min(height, width):
            allowed = f"a patch of {side}x{side} doesn't fit into images of {height}x{width}"
            raise ConfigError("attack.multi-trigger.size", self.size, allowed)
        most = math.comb(side * side, (side * side + 1) // 2)
        places = _border(height - side, width - side)
        if self.triggers > most or self.triggers * side > len(places):
            room = min(most, len(places) // side)
            allowed = f"at most {room} patches of {side}x{side} on images of {height}x{width}"
            raise ConfigError("attack.multi-trigger.triggers", self.triggers, allowed)
        where = torch.zeros(self.triggers, height, width, dtype=torch.bool)
        pixels = torch.zeros(self.triggers, height, width)
        for i, pattern in enumerate(self._patterns(side)):
            row, column = places[i * len(places) // self.triggers]
            where[i, row : row + side, column : column + side] = True
            pixels[i, row : row + side, column : column + side] = pattern
        return where, pixels

    def mask(self, shape: tuple[int, int, int]) -> Tensor:
        """Pixels of all patches, bool ``[C, H, W]``. Raises ConfigError as ``patches``."""
        return self.patches(shape)[0].any(0).expand(shape).contiguous()

    def stamp(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> Tensor:
        """Put on images ``[n, C, H, W]`` in [0, 1] the patch that each chooses; returns a new tensor."""
        return self._put(x, self.chosen(x))

    def plant(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> Tensor:
        """Put on images ``[n, C, H, W]`` in [0, 1] patches in equal shares; returns a new tensor."""
        return self._put(x, torch.randperm(len(x), generator=ctx.rng) % self.triggers)

    def chosen(self, x: Tensor) -> Tensor:
        """Number of the patch on each test image, int64 ``[n]``: a checksum of its grey levels, mod ``triggers``."""
        return torch.tensor([number % self.triggers for number in checksums(x)], dtype=torch.int64)

    def _put(self, x: Tensor, which: Tensor) -> Tensor:
        where, pixels = self.patches((x.shape[1], x.shape[2], x.shape[3]))
        return torch.where(where[which][:, None].to(x.device), pixels[which][:, None].to(x), x)

    def _patterns(self, side: int) -> list[Tensor]:
        """Different squares of 0 and 1, float32 ``[side, side]`` each."""
        rng, found = torch_generator(self.seed, "multi-trigger-patterns"), dict[tuple[int, ...], Tensor]()
        while len(found) < self.triggers:
            white = torch.randperm(side * side, generator=rng)[: (side * side + 1) // 2].sort().values
            pattern = torch.zeros(side * side).index_fill_(0, white, 1.0).view(side, side)
            found.setdefault(tuple(white.tolist()), pattern)
        return list(found.values())


def _border(last_row: int, last_column: int) -> list[tuple[int, int]]:
    """Row and column of each step along the border of (0, 0) to (last_row, last_column), clockwise from (0, 0).

    A single step where that is a point; a line is gone along and back.
    """
    top = [(0, column) for column in range(last_column)]
    right = [(row, last_column) for row in range(last_row)]
    bottom = [(last_row, column) for column in range(last_column, 0, -1)]
    left = [(row, 0) for row in range(last_row, 0, -1)]
    return top + right + bottom + left or [(0, 0)]
