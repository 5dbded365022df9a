"""Example images as rows of a grid."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedcrucible_core.records.reader import Examples
from fedcrucible_core.records.schema import RunDescription
from fedcrucible_core.reports.charts.curves import class_name

PER_ROW = 10
LEGENDS = {
    "clean": "{measured}",
    "triggered": "the same {inputs} with the trigger",
    "natural": "what attack success is measured on: {attacked}, nothing is put on them",
    "difference": "what the trigger changed (absolute difference, brightened to full range)",
    "synthetic": "the server's synthetic {inputs}",
    "poisoned": "synthetic {inputs} that an attacker has been at (the record knows, no defence is told)",
    "augmented": "synthetic {inputs} after augmentation",
}


@dataclass(frozen=True)
class Picture:
    """One image: a data address, the text for screen readers, and the class under it."""

    source: str
    alt: str
    caption: str


@dataclass(frozen=True)
class PictureRow:
    """Images of one kind."""

    kind: str
    legend: str
    pictures: tuple[Picture, ...]


def picture_rows(run: RunDescription, examples: Sequence[Examples]) -> list[PictureRow]:
    """Rows for every recorded kind; after "triggered" comes its difference from "clean" when shapes agree."""
    kinds = {e.kind: e for e in examples}
    rows = []
    for example in examples:
        rows.append(_row(run, example))
        clean = kinds.get("clean")
        if example.kind == "triggered" and clean is not None and clean.images.shape == example.images.shape:
            rows.append(_row(run, Examples("difference", _difference(clean.images, example.images), None)))
    return rows


def _row(run: RunDescription, example: Examples) -> PictureRow:
    pictures = []
    for place, image in enumerate(example.images[:PER_ROW]):
        caption = class_name(run, int(example.labels[place])) if example.labels is not None else ""
        alt = f"{example.kind} image {place + 1}" + (f", class {caption}" if caption else "")
        pictures.append(Picture(png_address(image), alt, caption))
    return PictureRow(example.kind, legend_of(run, example.kind), tuple(pictures))


def legend_of(run: RunDescription, kind: str) -> str:
    """What examples of a kind are, in the words of the run's task."""
    words = {"{measured}": run.measured, "{inputs}": run.inputs, "{attacked}": run.attack_inputs}
    legend = LEGENDS.get(kind, kind)
    for word, meaning in words.items():
        legend = legend.replace(word, meaning)
    return legend


def _difference(clean: NDArray[np.uint8], triggered: NDArray[np.uint8]) -> NDArray[np.uint8]:
    gap = np.abs(clean.astype(np.int16) - triggered.astype(np.int16)).astype(np.float64)
    return (255.0 * gap / max(1.0, float(gap.max(initial=0.0)))).astype(np.uint8)


def png_address(image: NDArray[Any]) -> str:
    """A uint8 image ``[C, H, W]`` (one or three channels) as a ``data:`` address."""
    pixels = image[0] if len(image) == 1 else np.moveaxis(image[:3], 0, -1)
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
