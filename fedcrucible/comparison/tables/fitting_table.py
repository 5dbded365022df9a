"""A table of names and numbers that is never squeezed: where it is too wide for the screen, it comes in parts."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

WIDEST_HEAD, LEAST_NAME = 14, 16
"""Characters of a heading's line, and of a name however many numbers stand beside it."""


@dataclass(frozen=True)
class FittingRow:
    """One line: its names, its numbers, both as rich's markup, and whether a rule is drawn below."""

    names: tuple[str, ...]
    numbers: tuple[str, ...]
    ends_section: bool = False


@dataclass(frozen=True)
class FittingTable:
    """Columns of names, repeated in every part, and columns of numbers, shared out to parts in their order."""

    title: str
    names: tuple[str, ...]
    numbers: tuple[str, ...]
    rows: tuple[FittingRow, ...]

    def print(self, console: Console) -> None:
        """In parts that fit a terminal; as one table where the output is none, for nobody resizes a file."""
        if not console.is_terminal:
            whole = self._part(0, len(self.numbers))
            unlimited = console.options.update(width=100_000)
            console.width = max(console.width, Measurement.get(console, unlimited, whole).maximum)
        for start, stop in self._parts(console):
            console.print(self._part(start, stop))

    def _parts(self, console: Console) -> Iterator[tuple[int, int]]:
        """Bounds of the parts: each as wide as fits, and one number at the least."""
        start = 0
        while start < len(self.numbers):
            stop = start + 1
            while stop < len(self.numbers) and self._fits(console, start, stop + 1):
                stop += 1
            yield start, stop
            start = stop
        if not self.numbers:
            yield 0, 0

    def _fits(self, console: Console, start: int, stop: int) -> bool:
        unlimited = console.options.update(width=100_000)
        return Measurement.get(console, unlimited, self._part(start, stop)).minimum <= console.width

    def _part(self, start: int, stop: int) -> Table:
        part = Table(title=self.title if start == 0 else None, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
        for place, name in enumerate(self.names):
            longest = max(_width(name), *(_width(row.names[place]) for row in self.rows), 0)
            part.add_column(name, overflow="fold", min_width=min(LEAST_NAME, longest))
        for place, name in enumerate(self.numbers[start:stop], start):
            lines = textwrap.wrap(name, WIDEST_HEAD)
            widest = max(_width(text) for text in (*lines, *(row.numbers[place] for row in self.rows)))
            part.add_column("\n".join(lines), justify="right", no_wrap=True, min_width=widest)
        for row in self.rows:
            part.add_row(*row.names, *row.numbers[start:stop], end_section=row.ends_section)
        return part


def _width(markup: str) -> int:
    """Columns on the screen; rich's own least width of a cell is its longest word."""
    return Text.from_markup(markup).cell_len
