"""PIL pictures to arrays: the one place that decides what a picture's mode, size and transparency mean.

Grey stays grey, all else is RGB.  More than 8 bits are scaled by what the mode says and never cut off.  Pictures are
turned upright by their EXIF orientation; transparent parts are laid on white; of several frames the first is taken.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.learning.datasets.base import UndecidedError
from fedcrucible_core.learning.datasets.deep_grey import DEEP_MODES, UnscaledError, deep_grey, refuse_signed

if TYPE_CHECKING:
    from PIL import Image

Pixels = npt.NDArray[np.uint8]
"""One picture, uint8 ``[H, W]`` (grey) or ``[H, W, 3]`` (RGB)."""
MOST_PIXELS = 64_000_000
"""Larger pictures are refused before they are decoded."""
GREY_MODES = frozenset({"1", "L", "LA", "La"})


class PictureError(ValueError):
    """A picture that can't be used; the message names it and says why."""

    def __init__(self, name: str, why: str) -> None:
        self.name, self.why = name, why
        super().__init__(f"{plain_text(name)}: {why}")

    def __reduce__(self) -> tuple[type[PictureError], tuple[str, str]]:
        """So that it crosses process borders whole."""
        return type(self), (self.name, self.why)


def open_picture(source: Path | bytes, name: str = "") -> Image.Image:
    """A picture file, or its bytes, decoded.

    ``name`` stands for it in messages; the default is the file's path.  Raises PictureError for what is absent, no
    file, no picture (an HTML page, an unsupported format), truncated, damaged or larger than ``MOST_PIXELS``.
    """
    from PIL import Image, UnidentifiedImageError

    called = name or (str(source) if isinstance(source, Path) else "picture")
    content = _content(source, called)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large or odd pictures: what follows decides
            opened = Image.open(io.BytesIO(content))
            if opened.width * opened.height > MOST_PIXELS:
                raise PictureError(called, _too_large(f"{opened.width} x {opened.height} pixels"))
            opened.load()
    except PictureError:
        raise
    except Image.DecompressionBombError:
        raise PictureError(called, _too_large("a decompression bomb")) from None
    except UnidentifiedImageError:
        raise PictureError(called, _not_a_picture(content)) from None
    except Exception as error:  # decoders raise what they like on damaged bytes
        why = plain_text(error) or type(error).__name__
        raise PictureError(called, f"truncated or damaged ({why})") from error
    return opened


def to_pixels(picture: Image.Image, name: str) -> Pixels:
    """A decoded picture as uint8 ``[H, W]`` (modes 1, L, LA and the deeper grey ones) or ``[H, W, 3]`` (all others).

    More than 8 bits are scaled by :func:`deep_grey`.  Raises PictureError, naming the mode, where values have no known
    scale or the mode is unknown.
    """
    from PIL import ImageOps

    try:
        upright = ImageOps.exif_transpose(picture)
        mode = upright.mode
        refuse_signed(picture)
        if mode in DEEP_MODES:
            return deep_grey(upright, picture)
        return np.array(_opaque(upright).convert("L" if mode in GREY_MODES else "RGB"), dtype=np.uint8)
    except UnscaledError as error:
        raise PictureError(name, str(error)) from error
    except Exception as error:  # PIL's own on damaged EXIF data, palettes, profiles
        why = plain_text(error) or type(error).__name__
        raise PictureError(name, f"mode {picture.mode} can't be turned into grey or RGB ({why})") from error


def read_pixels(source: Path | bytes, name: str = "") -> Pixels:
    """:func:`open_picture`, then :func:`to_pixels`. Raises PictureError."""
    return to_pixels(open_picture(source, name), name or (str(source) if isinstance(source, Path) else "picture"))


def resized(pixels: Pixels, side: int) -> Pixels:
    """The picture stretched to ``side`` x ``side`` by PIL's antialiased bilinear filter; 0 leaves it as it is."""
    from PIL import Image

    if side == 0 or pixels.shape[:2] == (side, side):
        return pixels
    return np.array(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR))


def stack_splits(splits: Mapping[str, Sequence[Pixels]], dataset: str) -> dict[str, Tensor]:
    """Pictures of all splits of one set as tensors uint8 ``[n, C, H, W]``.

    C is 1 where every picture of every split is grey, else 3: grey pictures among colours become RGB.
    Raises ConfigError (``task.dataset``) when there are several sizes, or no picture at all.
    """
    everything = [pixels for split in splits.values() for pixels in split]
    sizes = sorted({pixels.shape[:2] for pixels in everything})
    if not sizes:
        raise ConfigError("task.dataset", dataset, "holds no picture")
    if len(sizes) > 1:
        shown = ", ".join(f"{width} x {height}" for height, width in sizes[:3])
        allowed = f"needs images of one size, found {len(sizes)} sizes, e.g. {shown} pixels; set task.image_size"
        raise UndecidedError("task.dataset", dataset, allowed)
    grey = all(pixels.ndim == 2 for pixels in everything)
    return {name: _stacked(split, sizes[0], grey) for name, split in splits.items()}


def _stacked(split: Sequence[Pixels], size: tuple[int, int], grey: bool) -> Tensor:
    stacked = np.empty((len(split), 1 if grey else 3, *size), dtype=np.uint8)
    for row, pixels in enumerate(split):
        stacked[row] = pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)  # one channel fills all three
    return torch.from_numpy(stacked)


def _content(source: Path | bytes, called: str) -> bytes:
    if isinstance(source, bytes):
        content = source
    elif source.exists() and not source.is_file():
        raise PictureError(called, "not a file")
    else:
        try:
            content = source.read_bytes()
        except OSError as error:
            raise PictureError(called, f"can't be read ({error.strerror or type(error).__name__})") from error
    if not content:
        raise PictureError(called, "empty")
    return content


def _not_a_picture(content: bytes) -> str:
    start = content[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "an HTML page, not a picture"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the picture itself"
    return "not a picture, or one of an unsupported format"


def _too_large(what: str) -> str:
    return f"too large: {what}; allowed: {MOST_PIXELS} pixels"


def _opaque(picture: Image.Image) -> Image.Image:
    """The picture without transparency, on white; LAB, which PIL can't convert by itself, as RGB."""
    from PIL import Image

    if picture.mode == "LAB":
        return _from_lab(picture)
    if picture.mode not in ("RGBA", "LA", "PA", "RGBa", "La") and "transparency" not in picture.info:
        return picture
    layer = picture.convert("LA" if picture.mode == "La" else picture.mode)
    layer = layer.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _from_lab(picture: Image.Image) -> Image.Image:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.applyTransform(picture, ImageCms.buildTransform(lab, srgb, "LAB", "RGB"))
    assert converted is not None
    return converted
