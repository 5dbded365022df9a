"""What tells several series of one chart apart, and the legend below them."""

from __future__ import annotations

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


def colour_of(place: int) -> str:
    """Colour of a series."""
    return SERIES[place % len(SERIES)]


def dash_of(place: int) -> str:
    """Line style: another one when the colours begin again."""
    return DASHES[(place // len(SERIES)) % len(DASHES)]


def marker_of(place: int) -> str:
    """Shape of a series' points."""
    return MARKERS[place % len(MARKERS)]


def legend_height(labels: Sequence[str], width: float = WIDTH) -> float:
    """Inches that the legend below a figure of this width takes."""
    return LINE_HEIGHT * -(-len(labels) // _columns(labels, width)) if labels else 0.0


def legend_below(figure: Figure, *panels: Axes) -> None:
    """One legend for all panels; a name that several have stands there once."""
    found: dict[str, Any] = {}
    for axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        for handle, label in zip(handles, labels, strict=True):
            found.setdefault(label, handle)
    if found:
        figure.legend(
            list(found.values()), list(found), loc="outside lower center",
            ncols=_columns(list(found), figure.get_figwidth()), frameon=False, fontsize=FONT_SIZE - 0.5, labelcolor=INK,
        )  # fmt: skip


def _columns(labels: Sequence[str], width: float) -> int:
    """As many columns as long labels leave room for: a wider legend would squeeze the panels."""
    room = LEGEND_CHARACTERS * width / WIDTH
    return max(1, min(MOST_COLUMNS, len(labels), int(room // (max(map(len, labels), default=0) + KEY_CHARACTERS))))
