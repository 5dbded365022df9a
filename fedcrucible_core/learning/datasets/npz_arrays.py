"""The arrays of an NPZ file: which is which, and whether they can be read safely, from their headers alone."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.learning.datasets.listing import KEY, SPLITS, shown

Array = npt.NDArray[Any]
CLASS_NAMES = "class_names"
WHOLE_SET = {"images": "labels", "image": "label", "x": "y", "x_all": "y_all"}
"""Names of images -> names of labels, in a file without splits."""
EXPECTED = "x_train and y_train (x_test, y_test), or train_images and train_labels, or images and labels"


@dataclass(frozen=True)
class Header:
    """What an array's header says before anything of it is read."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def bytes(self) -> int:
        """What it takes in memory."""
        return math.prod(self.shape) * self.dtype.itemsize


def npz_file(place: Path) -> Path:
    """The file at ``place``: itself, or the only .npz in that folder. Raises ConfigError where there isn't one."""
    if place.is_file():
        return place
    found = sorted(p for p in place.glob("*") if p.suffix.lower() == ".npz" and not p.name.startswith("."))
    if len(found) != 1:
        here = f"several NPZ files ({shown([p.name for p in found])})" if found else "no NPZ file"
        raise ConfigError(KEY, str(place), f"holds {here}; name one")
    return found[0]


def read_headers(file: Path) -> dict[str, Header]:
    """Array name -> header. Raises ConfigError for what is no NPZ file."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            return {name.removesuffix(".npy"): _header(archive, name) for name in names}
    except Exception as error:  # zipfile, zlib, struct and numpy raise what they like on damaged bytes
        raise ConfigError(KEY, str(file), f"is no readable NPZ file ({plain_text(error)})") from error


def refuse_objects(headers: Mapping[str, Header], names: Iterable[str], file: Path) -> None:
    """Raise ConfigError where an array to be read holds Python objects: unpickling them could run code."""
    objects = [name for name in names if name in headers and headers[name].dtype.hasobject]
    if objects:
        allowed = (
            f"holds Python objects in {shown(objects)}, which are never read (they could run code); save plain "
            "arrays: np.asarray(labels, dtype=str) for text, np.stack(images) for pictures of one size"
        )
        raise ConfigError(KEY, str(file), allowed)


def pair_splits(headers: Mapping[str, Header], file: Path) -> dict[str, tuple[str, str]]:
    """Split -> names of its arrays of images and labels.

    Raises:
        ConfigError: images without labels or the other way round, no training split, two candidates for one split, or
            images and labels of different numbers.
    """
    spellings = {split: [pair for alias in names for pair in _spellings(alias)] for split, names in SPLITS.items()}
    splits = _chosen(headers, spellings, file) or _chosen(headers, {"train": list(WHOLE_SET.items())}, file)
    if "train" not in splits:
        raise ConfigError(KEY, str(file), f"has the arrays {shown(sorted(headers))}; needs {EXPECTED}")
    for images, labels in splits.values():
        many, of_labels = (headers[name].shape[:1] for name in (images, labels))
        if many != of_labels or not many:
            shapes = f"{images} is {list(headers[images].shape)}, {labels} is {list(headers[labels].shape)}"
            raise ConfigError(KEY, str(file), f"{shapes}; both need one entry per picture")
    return splits


def read_arrays(file: Path, names: list[str]) -> dict[str, Array]:
    """Arrays by name, without unpickling anything. Raises ConfigError for a damaged file."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except Exception as error:  # see read_headers
        raise ConfigError(KEY, str(file), f"is damaged ({plain_text(error)})") from error


def _header(archive: zipfile.ZipFile, name: str) -> Header:
    with archive.open(name) as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(member)
    return Header(shape, dtype)


def _spellings(alias: str) -> list[tuple[str, str]]:
    return [
        (f"x_{alias}", f"y_{alias}"),
        (f"{alias}_x", f"{alias}_y"),
        (f"{alias}_images", f"{alias}_labels"),
        (f"images_{alias}", f"labels_{alias}"),
    ]


def _chosen(
    headers: Mapping[str, Header], spellings: Mapping[str, list[tuple[str, str]]], file: Path
) -> dict[str, tuple[str, str]]:
    """Split -> the one pair of its spellings that is in the file."""
    splits = {}
    for split, pairs in spellings.items():
        found = _pairs(headers, pairs, file)
        if len(found) > 1:
            raise ConfigError(KEY, str(file), f"{shown([images for images, _ in found])} could each be {split}")
        if found:
            splits[split] = found[0]
    return splits


def _pairs(headers: Mapping[str, Header], spellings: list[tuple[str, str]], file: Path) -> list[tuple[str, str]]:
    """The pairs that are in the file, whatever the case of their names."""
    by_case: dict[str, str] = {}
    for name in headers:
        if by_case.setdefault(name.lower(), name) != name:
            raise ConfigError(KEY, str(file), f"{shown([by_case[name.lower()], name])} differ only in case")
    found = []
    for images, labels in spellings:
        if images in by_case and labels in by_case:
            found.append((by_case[images], by_case[labels]))
        elif images in by_case or labels in by_case:
            there, absent = (images, labels) if images in by_case else (labels, images)
            raise ConfigError(KEY, str(file), f"has {there!r} but no {absent!r}; it has {shown(sorted(headers))}")
    return found
