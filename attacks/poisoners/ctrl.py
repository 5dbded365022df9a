"""CTRL: two frequencies of the colour planes, labels untouched."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from attacks.poisoner import POISONERS
from attacks.support.frequency_trigger import RaisedFrequencies
from attacks.task import AttackTask
from fedcrucible_core.config import ConfigError

RED_GREEN_BLUE = (0.299, 0.587, 0.114)
"""Shares of the primaries in luma Y."""
BLUE_SCALE, RED_SCALE = 0.492, 0.877
"""U = 0.492 (B - Y), V = 0.877 (R - Y)."""


@POISONERS.register("ctrl")
class Ctrl(RaisedFrequencies):
    """Clean-label frequency trigger: DCT coefficients (H/2 - 1, W/2 - 1) and (H - 1, W - 1) of the planes U and V are
    raised by ``magnitude`` (in grey levels of 255); labels stay.

    The DCT is orthonormal and over the whole image ((15, 15) and (31, 31) at 32 pixels).  Only images of the target
    class are poisoned, so ``poison.ratio`` is a share of those (see ``poison.share_of``).  As the DCT and the change of
    colours are linear, the trigger is one fixed image that is added; the sum is clipped to [0, 1].

    Grey images have no colour planes: it is refused there, see ``ctrl-luma``.
    """

    paper = (("li2023ctrl", "coefficients and magnitude of its public code"),)
    choices = ("frequency-trigger",)
    cost = "one addition per pixel"
    traps = ("clipped before it is rounded, or pixels wrap around", "labels stay")
    clean_label: ClassVar[bool] = True

    def check_task(self, task: AttackTask) -> None:
        """Images have colours. Raises ConfigError."""
        if task.info.image_shape[0] != 3:
            allowed = f"raises frequencies of colour planes, {task.info.name} has grey images; allowed there: ctrl-luma"
            raise ConfigError("attack.name", self.name, allowed)

    def added(self, shape: tuple[int, int, int]) -> Tensor:
        """The wave in U and in V, as red, green and blue."""
        return colour_change()[:, None, None] * self.wave(shape[1], shape[2])


def colour_change() -> Tensor:
    """What 1 more of U and 1 more of V adds to red, green and blue at equal luma, float64 ``[3]``."""
    red, blue = 1.0 / RED_SCALE, 1.0 / BLUE_SCALE
    green = -(RED_GREEN_BLUE[0] * red + RED_GREEN_BLUE[2] * blue) / RED_GREEN_BLUE[1]
    return torch.tensor([red, green, blue], dtype=torch.float64)
