"""Numeric arrays to pictures: what lies in NPZ files and in columns of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.datasets.deep_grey import LARGEST_16_BIT
from fedcrucible_core.learning.datasets.pictures import Pixels, to_pixels

Array = npt.NDArray[Any]


def array_pixels(splits: Mapping[str, Sequence[Array]], dtype: str, dataset: str) -> dict[str, list[Pixels]]:
    """Arrays ``[H, W]``, ``[H, W, C]`` or ``[C, H, W]`` (C = 1, 3, or 4 with transparency) as 8-bit pictures.

    One scale serves all splits: bool is 0..1, uint8 is 0..255, uint16 is 0..65535, whatever its values.  Other types,
    named by ``dtype``, say no scale: floats within 0..1 are 0..1; whole numbers within 0..255, some above 1, are 8-bit.

    Raises:
        ConfigError: (``task.dataset``) for other ranges, values that aren't finite, or another layout.
    """
    every = [array for arrays in splits.values() for array in arrays]
    factor = _factor(every, dtype, dataset)
    return {
        split: [_picture(array, factor, f"{split} row {row}", dataset) for row, array in enumerate(arrays)]
        for split, arrays in splits.items()
    }


def _factor(arrays: Sequence[Array], dtype: str, dataset: str) -> float:
    """What values are multiplied by to lie in 0..255."""
    named = {"bool": 255.0, "uint8": 1.0, "uint16": 255.0 / LARGEST_16_BIT}
    if dtype in named:
        return named[dtype]
    filled = [array for array in arrays if array.size]
    if not all(array.dtype.kind in "biuf" for array in filled):
        raise ConfigError("task.dataset", dataset, "image rows are not arrays of numbers of one shape")
    if not all(np.isfinite(array).all() for array in filled):
        raise ConfigError("task.dataset", dataset, "images hold values that aren't finite")
    low = min((array.min() for array in filled), default=0)
    high = max((array.max() for array in filled), default=0)
    floating = dtype.startswith("float") or dtype == "double"
    if floating and low >= 0 and high <= 1:
        return 255.0
    if low >= 0 and 1 < high <= 255 and (not floating or all((array == np.rint(array)).all() for array in filled)):
        return 1.0
    allowed = "0..1 as floats, 0..255 as whole numbers, or the types bool, uint8, uint16, which say their scale"
    raise ConfigError(
        "task.dataset", dataset, f"images of type {dtype} hold values {low:g}..{high:g}; allowed: {allowed}"
    )


def _picture(array: Array, factor: float, name: str, dataset: str) -> Pixels:
    from PIL import Image

    if array.ndim == 3 and array.shape[-1] not in (1, 3, 4) and array.shape[0] in (1, 3, 4):
        array = array.transpose(1, 2, 0)
    channels = array.shape[-1] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4) or not array.size:
        allowed = "allowed: [H, W], [H, W, C] or [C, H, W] with C = 1, 3 or 4"
        raise ConfigError("task.dataset", dataset, f"{name} is an array of shape {list(array.shape)}; {allowed}")
    pixels = np.rint(np.asarray(array, dtype=np.float64) * factor).astype(np.uint8)
    if channels == 4:
        return to_pixels(Image.fromarray(pixels), name)
    return pixels.reshape(pixels.shape[:2]) if channels == 1 else pixels
