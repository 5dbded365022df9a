"""Lists of images by their number in the published splits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attacks.support.stored import stored_pixels
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import TaskSection
from fedcrucible_core.config.text_files import read_text
from fedcrucible_core.learning.data import Labeled

FORMAT = 'a JSON file {"train": [numbers], "test": [numbers], "test_split": "test" or "train"}'


@dataclass(frozen=True)
class ListedImages:
    """Published images that carry an attribute."""

    train: Labeled
    """Of the training split: what attackers mislabel."""
    test: Labeled
    """What success is measured on."""
    test_split: str
    """The split that ``test`` is from: test, or train."""


@lru_cache(maxsize=2)
def listed_images(path: str, task: TaskSection, key: str) -> ListedImages:
    """Read a file of the format above (``test_split`` may be left out: test) and the images it lists; cached.

    Raises:
        ConfigError: naming ``key``, for a file that can't be read or holds something else, or numbers of no image.
    """
    from fedcrucible_core.learning.datasets import published

    lists = _read(path, key)
    split = lists.get("test_split", "test")
    if split == "train" and set(lists["train"]) & set(lists["test"]):
        raise ConfigError(key, path, "an image is both in train and in test: success would not be measured held out")
    data = published(task)
    assert data.test is not None
    held_out = data.train if split == "train" else data.test
    parts = []
    for name, images, number_of in (("train", data.train, "train"), ("test", held_out, split)):
        beyond = [n for n in lists[name] if n >= len(images)]
        if beyond:
            allowed = f"number {beyond[0]} in {name}: the {number_of} split has images 0 to {len(images) - 1}"
            raise ConfigError(key, path, allowed)
        parts.append(images.subset(torch.tensor(lists[name], dtype=torch.int64)))
    return ListedImages(parts[0], parts[1], split)


def members(images: Tensor, of: Tensor) -> Tensor:
    """Which of ``images`` uint8 ``[n, C, H, W]`` are among ``of`` ``[m, C, H, W]``, pixel by pixel: bool ``[n]``.

    By content, because subsets and hold-outs renumber images.
    """
    images, of = stored_pixels(images), stored_pixels(of)
    known = {image.numpy().tobytes() for image in of}
    sums = images.flatten(1).sum(1, dtype=torch.int64)  # most images are ruled out by one number
    found = torch.isin(sums, of.flatten(1).sum(1, dtype=torch.int64))
    for row in found.nonzero().flatten().tolist():
        found[row] = images[row].numpy().tobytes() in known
    return found


def _read(path: str, key: str) -> dict[str, Any]:
    try:
        found = json.loads(read_text(Path(path).expanduser()))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(key, path, f"{error}; allowed: {FORMAT}") from error
    if not isinstance(found, dict) or not {"train", "test"} <= set(found) <= {"train", "test", "test_split"}:
        raise ConfigError(key, path, f"allowed: {FORMAT}")
    numbers = [found["train"], found["test"]]
    if not all(isinstance(part, list) and all(type(n) is int and n >= 0 for n in part) for part in numbers):
        raise ConfigError(key, path, f"train and test must list whole numbers from 0; allowed: {FORMAT}")
    if found.get("test_split", "test") not in ("train", "test"):
        raise ConfigError(key, path, f"test_split is {found['test_split']!r}; allowed: {FORMAT}")
    return found
