"""The pictures of a Hugging Face data set's column: encoded files or arrays of numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.datasets.arrays import Array, array_pixels
from fedcrucible_core.learning.datasets.columns import array_type, picture_kind
from fedcrucible_core.learning.datasets.pictures import PictureError, Pixels, read_pixels, resized, stack_splits


def read_pictures(splits: Mapping[str, Any], column: str, side: int, dataset: str) -> dict[str, Tensor]:
    """Each split's pictures uint8 ``[n, C, H, W]``, resized to ``side`` where that isn't 0; each decoded once.

    Raises ConfigError naming the row of a picture that can't be read, or for several sizes.
    """
    feature = splits["train"].features[column]
    pixels: dict[str, list[Pixels]]
    try:
        if picture_kind(feature) == "encoded":
            pixels = {
                split: [resized(p, side) for p in _decoded(split, rows, column)] for split, rows in splits.items()
            }
        else:
            arrays = {split: list(_arrays(split, rows, column)) for split, rows in splits.items()}
            whole = array_pixels(arrays, array_type(feature), dataset)
            pixels = {split: [resized(p, side) for p in found] for split, found in whole.items()}
    except PictureError as error:
        raise ConfigError("task.dataset", dataset, str(error)) from error
    return stack_splits(pixels, dataset)


def _decoded(split: str, rows: Any, column: str) -> Iterator[Pixels]:
    """Rows of files' bytes, or of paths where there are none."""
    import datasets

    undecoded = rows.select_columns([column])
    if type(rows.features[column]).__name__ == "Image":
        undecoded = undecoded.cast_column(column, datasets.Image(decode=False))
    for number, row in enumerate(undecoded):
        held, name = row[column], f"{split} row {number}"
        content, path = (held.get("bytes"), held.get("path")) if isinstance(held, dict) else (held, None)
        if content is None and not path:
            raise PictureError(name, "holds no picture")
        yield read_pixels(Path(str(path)) if content is None else bytes(content), name)


def _arrays(split: str, rows: Any, column: str) -> Iterator[Array]:
    for number, row in enumerate(rows.select_columns([column])):
        held = row[column]
        if held is None:
            raise PictureError(f"{split} row {number}", "holds no picture")
        try:
            yield np.asarray(held)
        except ValueError:  # rows of several lengths
            raise PictureError(f"{split} row {number}", "holds lists of several lengths") from None
