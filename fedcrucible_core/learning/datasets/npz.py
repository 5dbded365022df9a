"""An NPZ file of images and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.datasets.arrays import array_pixels
from fedcrucible_core.learning.datasets.base import DATASETS, READ_AS_IT_IS, PublishedData, Reading
from fedcrucible_core.learning.datasets.class_folders import match_names, refuse_look_alikes
from fedcrucible_core.learning.datasets.labels import number_labels
from fedcrucible_core.learning.datasets.listing import KEY, Listed, Listing, check_classes, shown
from fedcrucible_core.learning.datasets.npz_arrays import (
    CLASS_NAMES,
    EXPECTED,
    Array,
    npz_file,
    pair_splits,
    read_arrays,
    read_headers,
    refuse_objects,
)
from fedcrucible_core.learning.datasets.own import OwnData
from fedcrucible_core.learning.datasets.pictures import Pixels, resized, stack_splits
from fedcrucible_core.learning.datasets.read_pictures import check_bytes
from fedcrucible_core.learning.partition.base import Labels


@DATASETS.register("npz")
class PictureArrays(OwnData):
    """Own pictures as arrays of an NPZ file: ``x_train``, ``y_train``, ``x_test``, ``y_test``, or in MedMNIST's names.

    The file is ``task.data_dir`` or the only NPZ file in it; ``task.dataset="npz:PLACE"`` names it within the data
    folder.  Also understood: ``train_images``/``train_labels``, ``val``/``valid``/``validation``, and
    ``images``/``labels`` alone.  Images are [n, H, W], [n, H, W, C] or [n, C, H, W]: uint8, uint16 (0..65535), bool,
    floats in 0..1 or whole numbers in 0..255.  Labels are [n] or [n, 1]: whole numbers or text; an array
    ``class_names`` names them.  Nothing is ever unpickled.
    """

    paper = ("yang2023medmnist", "names of the arrays; the format is numpy's")
    holds: ClassVar[str] = f"an NPZ file with {EXPECTED}"

    def read(self, root: Path, reading: Reading = READ_AS_IT_IS) -> PublishedData:
        """Read all arrays. Raises ConfigError for arrays that can't be used, naming file and array."""
        file = npz_file(self.at(root))
        headers = read_headers(file)
        pairs = pair_splits(headers, file)
        refuse_objects(headers, [CLASS_NAMES, *(name for pair in pairs.values() for name in pair)], file)
        check_bytes(sum(headers[name].bytes for pair in pairs.values() for name in pair), str(file))
        named = [CLASS_NAMES] if CLASS_NAMES in headers else []
        arrays = read_arrays(file, [*named, *(name for pair in pairs.values() for name in pair)])
        entries = {split: _entries(arrays[name], name, file) for split, (_, name) in pairs.items()}
        classes, labels = number_entries(entries, arrays.get(CLASS_NAMES), file)
        listed = {split: [Listed(file, label) for label in numbers.tolist()] for split, numbers in labels.items()}
        notes = check_classes(Listing(listed, classes), str(file))
        pixels = _pixels({split: arrays[name] for split, (name, _) in pairs.items()}, file, reading.image_size)
        images = stack_splits(pixels, self.full_name)
        tensors = {split: torch.from_numpy(numbers) for split, numbers in labels.items()}
        return self.published(images, tensors, classes, notes)


def number_entries(
    entries: Mapping[str, Sequence[object]], names: Array | None, file: Path
) -> tuple[tuple[str, ...], dict[str, Labels]]:
    """Class names and each split's labels int64 ``[n]``, -1 where there is none.

    Without ``names`` as :func:`number_labels` does; with them whole numbers are places in ``names``, text one of them.
    """
    if names is None:
        classes, labels = number_labels(entries, KEY, str(file))
        refuse_look_alikes(classes, "the labels", KEY, str(file))
        return classes, labels
    classes = tuple(map(str, _entries(names, CLASS_NAMES, file)))
    refuse_look_alikes(classes, "the class names", KEY, str(file))
    found = list(dict.fromkeys(entry for split in entries.values() for entry in split))
    if any(isinstance(entry, str) for entry in found):
        matched = match_names(classes, [str(entry) for entry in found], KEY, str(file))
        place: dict[object, int] = {own: number for number, own in enumerate(matched) if own is not None}
        strangers = [str(entry) for entry in found if entry not in place]
    else:
        known = range(-1, len(classes))
        place = {entry: known.index(entry) - 1 for entry in found if entry in known}  # type: ignore[arg-type]
        strangers = [str(entry) for entry in found if entry not in place]
    if strangers:
        allowed = f"the label {shown(strangers)} is none of the {len(classes)} in {CLASS_NAMES}"
        raise ConfigError(KEY, str(file), allowed)
    return classes, {split: np.array([place[e] for e in some], dtype=np.int64) for split, some in entries.items()}


def _entries(array: Array, name: str, file: Path) -> list[object]:
    """An array ``[n]`` or ``[n, 1]`` of labels as plain values."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or array.dtype.kind not in "biufUS":
        allowed = (
            f"{name} is {array.dtype} {list(array.shape)}; allowed: one whole number or text per picture, [n] or [n, 1]"
        )
        raise ConfigError(KEY, str(file), allowed)
    if array.dtype.kind == "S":
        return [entry.decode("utf-8", "replace").strip() for entry in array.tolist()]
    return [entry.strip() if isinstance(entry, str) else entry for entry in array.tolist()]


def _pixels(arrays: Mapping[str, Array], file: Path, side: int) -> dict[str, list[Pixels]]:
    types = sorted({str(array.dtype) for array in arrays.values()})
    if len(types) > 1:
        raise ConfigError(KEY, str(file), f"images are of the types {shown(types)}; allowed: one for all splits")
    pixels = array_pixels({split: list(array) for split, array in arrays.items()}, types[0], f"npz:{file.name}")
    return {split: [resized(picture, side) for picture in pictures] for split, pictures in pixels.items()}
