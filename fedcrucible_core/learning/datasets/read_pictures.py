"""Listed picture files to pixels: what can't be used is passed over with its reason, what doesn't fit is refused."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.datasets.listing import KEY, Listed, Listing
from fedcrucible_core.learning.datasets.pictures import PictureError, Pixels, read_pixels, resized
from fedcrucible_core.learning.datasets.skipped import Skipped

MOST_FILE_BYTES = 512 * 2**20
"""Larger files are passed over: no picture of at most 64 million pixels needs as much."""
MOST_BYTES = 16 * 2**30
"""Pixels of all splits together, one byte each; a quarter of the memory where that is less (reading takes twice as
much)."""
Read = tuple[list[Pixels], list[Listed]]
"""Pictures of one split with the entries that they came from."""


def read_listing(listing: Listing, side: int, value: object) -> dict[str, Read]:
    """Every usable picture by split, as uint8 ``[H, W]`` or ``[H, W, 3]``, resized to ``side`` (0: as it is).

    What can't be used is added to ``listing.skipped``.  Raises ConfigError where the set would not fit in memory, as
    soon as that is known.
    """
    budget = _Budget(sum(map(len, listing.splits.values())), value)
    return {split: _read(items, side, listing.skipped, budget) for split, items in listing.splits.items()}


def check_bytes(pixels: int, value: object) -> None:
    """Raise ConfigError where ``pixels`` (bytes, of all splits together) would not fit in memory."""
    if pixels > most_bytes():
        allowed = (
            f"its pictures take {pixels / 2**30:,.1f} GiB as pixels; allowed: {most_bytes() / 2**30:,.1f} GiB; "
            "set task.image_size to a smaller side, or use fewer pictures"
        )
        raise ConfigError(KEY, value, allowed)


def most_bytes() -> int:
    """``MOST_BYTES``, or a quarter of this machine's memory."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not every system says
        return MOST_BYTES
    return min(MOST_BYTES, memory // 4)


class _Budget:
    """Bytes so far, and what the whole set would take if all its pictures were like the first."""

    def __init__(self, pictures: int, value: object) -> None:
        self.pictures, self.value = pictures, value
        self.used = 0

    def spend(self, pixels: Pixels) -> None:
        if not self.used:
            check_bytes(pixels.size * self.pictures, self.value)
        self.used += pixels.size
        check_bytes(self.used, self.value)


def _read(items: Iterable[Listed], side: int, skipped: Skipped, budget: _Budget) -> Read:
    pictures: list[Pixels] = []
    kept: list[Listed] = []
    for item in items:
        try:
            pixels = resized(_pixels(item.file), side)
        except PictureError as error:
            skipped.add(_kind(error.why), item.file)
            continue
        budget.spend(pixels)
        pictures.append(pixels)
        kept.append(item)
    return pictures, kept


def _pixels(file: Path) -> Pixels:
    try:
        size = file.stat().st_size
    except OSError:
        size = 0  # what is wrong with it is said where it is opened
    if size > MOST_FILE_BYTES:
        raise PictureError(str(file), f"too large: {size} bytes")
    return read_pixels(file)


def _kind(why: str) -> str:
    """The reason without this file's own numbers, so that files can be counted by it."""
    for mark in (" (", ": ", " with values"):
        why = why.split(mark)[0]
    return why
