"""Pictures that are known by place and class before any of them is opened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.datasets.skipped import Skipped

KEY = "task.data_dir"
"""What says where own data lie."""
MOST_PICTURES = 2_000_000
"""More files than this are not even listed: nobody meant a whole disk."""
SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test", "testing"),
}
"""Split -> the names under which it goes, whatever their case."""


def split_named(name: str) -> str | None:
    """The split that a folder or a cell of a table means; None when it means none."""
    return next((split for split, names in SPLITS.items() if name.strip().lower() in names), None)


@dataclass(frozen=True)
class Listed:
    """One picture file: where it lies, the number of its class (-1: no label), its row in the table or folder."""

    file: Path
    label: int
    row: int = 0


@dataclass
class Listing:
    """A data set before it is read: its pictures by split, its classes, and what is no part of it."""

    splits: dict[str, list[Listed]]
    """``train``, and ``validation`` and ``test`` where there are such."""
    classes: tuple[str, ...]
    """Names of folders or labels in label order, every split's together."""
    skipped: Skipped = field(default_factory=Skipped)


def check_classes(listing: Listing, value: object) -> tuple[str, ...]:
    """Every class has training pictures; a class that only another split lacks is a note, which is returned.

    Raises:
        ConfigError: on ``task.data_dir = value``: a split without any picture, or a class without training pictures.
    """
    labels = {split: [item.label for item in items] for split, items in listing.splits.items()}
    return check_labels(labels, listing.classes, listing.skipped, value)


def check_labels(
    labels: Mapping[str, Iterable[int]], classes: Sequence[str], skipped: Skipped, value: object, noun: str = "picture"
) -> tuple[str, ...]:
    """The same of labels by split, each of one usable ``noun``; what was ``skipped`` explains what is lacking."""
    counts = {split: Counter(found) for split, found in labels.items()}
    for split in {"train": 0} | counts:
        if not counts.get(split):
            raise ConfigError(KEY, value, f"no usable {noun} in {split}{_because(skipped)}")
    notes = []
    for split, count in counts.items():
        lacking = [number for number in range(len(classes)) if not count[number]]
        names = [classes[number] for number in lacking]
        if lacking and split == "train":
            elsewhere = [other for other in counts if any(counts[other][number] for number in lacking)]
            also = f" (but in {' and '.join(elsewhere)})" if elsewhere else ""
            raise ConfigError(KEY, value, f"no usable training {noun} of {shown(names)}{also}{_because(skipped)}")
        if lacking and any(number >= 0 for number in count):
            notes.append(f"{split} has no {noun} of {shown(names)}")
    return tuple(notes)


def shown(names: Sequence[str], most: int = 8) -> str:
    """Names in quotes, at most ``most`` of them."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more


def _because(skipped: Skipped) -> str:
    return f"; {'; '.join(skipped.notes())}" if skipped else ""
