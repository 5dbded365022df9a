"""Grey pictures of more than 8 bits to 8 bits: by the scale that mode, format and tags name, never by a guess."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

DEEP_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I", "F"})
"""Modes of one channel with more than 8 bits."""
LARGEST_16_BIT = 65_535
BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339
"""TIFF tags."""
WHITE_IS_ZERO, SIGNED = 0, 2


class UnscaledError(ValueError):
    """Values without a known scale; the message says which."""


def deep_grey(upright: Image.Image, picture: Image.Image) -> npt.NDArray[np.uint8]:
    """uint8 ``[H, W]`` of a picture in one of ``DEEP_MODES``; ``picture`` is the opened file that ``upright`` was.

    16 bits are 0..65535, a TIFF's 12 bits 0..4095; mode I (32 bits) is 0..65535 in PGM files, whose reader has scaled
    it, and elsewhere where values fit and some exceed 255; mode F is 0..1.  TIFFs in which white is 0 are turned round;
    a PNG's transparent grey is white.

    Raises:
        UnscaledError: other values.
    """
    values, tags = np.asarray(upright), _tags(picture)
    if not values.size:
        raise UnscaledError("has no pixels")
    if not np.isfinite(values).all():
        raise UnscaledError(f"mode {upright.mode} with values that aren't finite")
    pixels = np.rint(values.astype(np.float64) * (255.0 / _white(values, upright.mode, picture))).astype(np.uint8)
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:  # PIL turns 8 bits round, but no more than that
        pixels = 255 - pixels
    hidden = picture.info.get("transparency")
    if isinstance(hidden, int):
        pixels[values == hidden] = 255
    return pixels


def refuse_signed(picture: Image.Image) -> None:
    """Raise UnscaledError for a TIFF of signed bytes, whose negative values PIL reads as bright ones."""
    if picture.mode == "L" and _tags(picture).get(SAMPLE_FORMAT) == (SIGNED,):
        raise UnscaledError("mode L of signed 8-bit values; only 0..255 has a known scale")


def _white(values: npt.NDArray[Any], mode: str, picture: Image.Image) -> float:
    """The value that is white. Raises UnscaledError where none is known."""
    low, high = values.min(), values.max()
    if mode == "F":
        if low < 0 or high > 1:
            raise UnscaledError(f"mode F with values {low:.6g}..{high:.6g}; only 0..1 has a known scale")
        return 1.0
    if mode == "I":
        if low < 0 or high > LARGEST_16_BIT or (0 < high <= 255 and picture.format != "PPM"):
            why = (
                f"mode I (32 bits) with values {low}..{high}; only 16-bit values (0..65535, some above 255) are scaled"
            )
            raise UnscaledError(why)
        return LARGEST_16_BIT
    bits = _tags(picture).get(BITS_PER_SAMPLE, (16,))[0]
    return 2.0**bits - 1 if 8 < bits < 16 and high < 2**bits else LARGEST_16_BIT


def _tags(picture: Image.Image) -> Any:
    """A TIFF's tags; nothing for other formats."""
    return getattr(picture, "tag_v2", {})
