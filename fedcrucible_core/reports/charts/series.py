"""What tells several series of one chart apart, and the legend below them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedcrucible_core.reports.charts.canvas import FONT_SIZE, WIDTH
from fedcrucible_core.reports.charts.palette import INK, SERIES

DASHES = ("-", "--", ":", "-.")
MARKERS = "osD^vP*X"
LINE_HEIGHT = 0.2
"""Inches of a line of the legend."""
LEGEND_CHARACTERS, KEY_CHARACTERS = 120, 8
"""Characters in a line of a legend as wide as the page, and those that a line's sample and the gap after it take."""
MOST_COLUMNS = 6
MOST_LINES = 3
"""Lines of one name; what is left of it is cut off."""


def colour_of(place: int) -> str:
    """Colour of a series."""
    return SERIES[place % len(SERIES)]


def dash_of(place: int) -> str:
    """Line style: another one when the colours begin again."""
    return DASHES[(place // len(SERIES)) % len(DASHES)]


def marker_of(place: int) -> str:
    """Shape of a series' points."""
    return MARKERS[place % len(MARKERS)]


def in_lines(name: str, characters: int) -> str:
    """A name in lines of so many characters, cut off after the third."""
    return textwrap.fill(name, characters, max_lines=MOST_LINES, placeholder=" ...") if name else ""


def legend_height(labels: Sequence[str], width: float = WIDTH) -> float:
    """Inches that the legend below a figure of this width takes."""
    if not labels:
        return 0.0
    most = max(_in_legend(label, width).count("\n") + 1 for label in labels)
    return LINE_HEIGHT * most * -(-len(labels) // _columns(labels, width))


def legend_below(figure: Figure, *panels: Axes) -> None:
    """One legend for all panels; a name that several have stands there once."""
    found: dict[str, Any] = {}
    for axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        for handle, label in zip(handles, labels, strict=True):
            found.setdefault(label, handle)
    if found:
        width = figure.get_figwidth()
        figure.legend(
            list(found.values()), [_in_legend(label, width) for label in found], loc="outside lower center",
            ncols=_columns(list(found), width), frameon=False, fontsize=FONT_SIZE - 0.5, labelcolor=INK,
        )  # fmt: skip


def _columns(labels: Sequence[str], width: float) -> int:
    """As many columns as long labels leave room for: a wider legend would squeeze the panels."""
    longest = max((len(line) for label in labels for line in _in_legend(label, width).split("\n")), default=0)
    return max(1, min(MOST_COLUMNS, len(labels), int(_room(width) // (longest + KEY_CHARACTERS))))


def _in_legend(label: str, width: float) -> str:
    return in_lines(label, int(_room(width)) - KEY_CHARACTERS)


def _room(width: float) -> float:
    """Characters in a line of a legend of this width."""
    return LEGEND_CHARACTERS * width / WIDTH
