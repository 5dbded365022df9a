"""Pictures that are known by place and class before any of them is opened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from config import ConfigError
from learning.datasets.skipped import Skipped

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
    """One picture file: where it lies, which class it shows, whose it is (empty: nobody's in particular)."""

    file: Path
    class_name: str
    group: str = ""


@dataclass
class Listing:
    """A data set before it is read: its pictures by split, its classes, and what is no part of it."""

    splits: dict[str, list[Listed]]
    """``train``, and ``validation`` and ``test`` where there are such."""
    classes: tuple[str, ...]
    """Names of folders or labels in label order, every split's together."""
    skipped: Skipped = field(default_factory=Skipped)
    notes: list[str] = field(default_factory=list)


def check_classes(listing: Listing, key: str, value: object, missing_is_fine: bool = False) -> None:
    """Every class has training pictures; a class that only another split lacks is a note.

    ``missing_is_fine``: the classes were given, and this machine need not hold all of them.

    Raises:
        ConfigError: on ``key = value``: no picture at all, fewer than two classes, or a class without training pictures.
    """
    counts = {split: Counter(item.class_name for item in items) for split, items in listing.splits.items()}
    if not counts.get("train"):
        raise ConfigError(key, value, f"no usable training picture{_because(listing.skipped)}")
    if len(listing.classes) < 2:
        allowed = f"has pictures of {len(listing.classes)} class ({', '.join(listing.classes)}); at least 2 are needed"
        raise ConfigError(key, value, allowed)
    for split, count in counts.items():
        lacking = [name for name in listing.classes if not count[name]]
        if lacking and split == "train" and not missing_is_fine:
            elsewhere = sorted(other for other in counts if other != split and any(counts[other][n] for n in lacking))
            also = f" (it is in {' and '.join(elsewhere)} only)" if elsewhere and len(lacking) == 1 else ""
            allowed = f"no usable training picture of {shown(lacking)}{also}{_because(listing.skipped)}"
            raise ConfigError(key, value, allowed)
        if lacking:
            listing.notes.append(f"{split} has no picture of {shown(lacking)}")


def shown(names: Sequence[str], most: int = 8) -> str:
    """Names in quotes, at most ``most`` of them."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more


def _because(skipped: Skipped) -> str:
    return f"; {'; '.join(skipped.notes())}" if skipped else ""
