"""Made-up pictures of somebody's own: classes that differ in colour, in two sizes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("apple", "banana", "plum")
COLOURS = ((200, 40, 40), (220, 200, 40), (110, 40, 150), (40, 160, 60))
SIZES = ((48, 40), (36, 36))


def picture(label: int, number: int, size: tuple[int, int] | None = None, seed: int = 0) -> Image.Image:
    """A picture of the class's colour with some noise; every one is different."""
    width, height = size or SIZES[number % len(SIZES)]
    rng = np.random.default_rng([seed, label, number])
    noise = rng.normal(0, 25, (height, width, 3))
    return Image.fromarray(np.clip(np.array(COLOURS[label]) + noise, 0, 255).astype(np.uint8))


def write_folder(root: Path, count: int, classes: Sequence[str] = CLASSES, size: tuple[int, int] | None = None) -> Path:
    """``root/<class>/<number>.png``, ``count`` of each class."""
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            picture(label, number, size, len(root.name)).save(root / name / f"{number:03}.png")
    return root


def write_table(
    file: Path, rows: Sequence[Sequence[str]], header: Sequence[str] = ("path", "label"), **how: str
) -> Path:
    """A CSV file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding=how.pop("encoding", "utf-8"), newline="") as out:
        writer = csv.writer(out, **how)  # type: ignore[arg-type]
        writer.writerow(header)
        writer.writerows(rows)
    return file
