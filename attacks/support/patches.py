"""What patch triggers share: sizes that follow the image's height, colours, painting."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fedcrucible_core.config import ConfigError

NAMED_COLOURS = {"white": "1", "black": "0"}
REFERENCE_HEIGHT = 32
"""Sizes are given for images of this height."""


def scaled(pixels: int, height: int) -> int:
    """Pixels at 32 pixels height -> pixels at ``height``, rounded half up."""
    return math.floor(pixels * height / REFERENCE_HEIGHT + 0.5)


def parse_colour(text: str) -> tuple[float, ...]:
    """``white``, ``black``, one value or ``r,g,b`` as numbers in [0, 1]. Raises ValueError for anything else."""
    try:
        values = tuple(float(part) for part in NAMED_COLOURS.get(text.strip().lower(), text).split(","))
    except ValueError:
        values = ()
    if len(values) not in (1, 3) or not all(0.0 <= value <= 1.0 for value in values):
        raise ValueError(f"{text!r} is no colour; allowed: white, black, a value in [0, 1], or r,g,b of such values")
    return values


def colour_text(value: object) -> str:
    """A colour setting as text; raises ValueError for what is no colour."""
    text = str(value)
    parse_colour(text)
    return text


def paint(x: Tensor, mask: Tensor, colour: str, opacity: float, key: str) -> Tensor:
    """x * (1 - o) + o * colour where ``mask`` (bool ``[C, H, W]``) is set, on images ``[n, C, H, W]``; a new tensor.

    Raises:
        ConfigError: a colour of three values meets images of another channel number; it names ``key``.
    """
    channels, values = x.shape[1], parse_colour(colour)
    if len(values) not in (1, channels):
        raise ConfigError(key, colour, f"allowed: one value, or one for each of {channels} channel(s)")
    tint = torch.tensor(values, dtype=x.dtype, device=x.device).view(-1, 1, 1)
    return torch.where(mask.to(x.device), x * (1.0 - opacity) + opacity * tint, x)
