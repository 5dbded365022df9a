"""The entropy map: how much a sample's label surprises the guide, against how fast models learn it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from fedcrucible_core.records.split_table import Part, RecordedSplit, SplitRow
from fedcrucible_core.reports.charts.canvas import inline_svg, legend, new_figure, style
from fedcrucible_core.reports.charts.palette import GREEN, GREY, INK, MUTED, VERMILLION

MOST_POINTS = 5000
"""Samples that are drawn; of more an even choice."""
VECTOR_POINTS = 1500
"""More samples than this are drawn as a bitmap within the map: a page of 5,000 circles is slow."""
LOOKS: Mapping[Part, tuple[str, str]] = {"clean": (GREEN, "o"), "mixed": (GREY, "s"), "triggered": (VERMILLION, "^")}
"""Part -> colour and marker, in the order in which they are drawn."""


def entropy_map(split: RecordedSplit) -> Markup | None:
    """Guide rank against model rank; None where a sample lacks either (a splitter by one score, or by others)."""
    ranked = [row for row in split.rows if row.rank_guide is not None and row.rank_model is not None]
    if not ranked:
        return None
    shown = _even(ranked)
    figure = new_figure(6.4, 5.4)
    axes = style(
        figure.add_subplot(), x="Model rank (0: learned first)", y="Guide rank (1: the label surprises it most)"
    )
    for part, (colour, marker) in LOOKS.items():
        _points(axes, [row for row in shown if row.part == part], f"{part} ({split.counted(part):,})", colour, marker)
    bad = [row for row in shown if row.poisoned]
    if bad:
        total = sum(bool(row.poisoned) for row in split.rows)
        axes.scatter(
            *_places(bad), s=34, facecolors="none", edgecolors=INK, linewidths=0.7, label=f"poisoned ({total:,})",
            rasterized=len(shown) > VECTOR_POINTS, zorder=4,
        )  # fmt: skip
    _lines(axes, split.facts.thresholds)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    legend(axes)
    said = ", ".join(f"{split.counted(part):,} {part}" for part in LOOKS)
    return inline_svg(figure, "entropy-map", f"Entropy map: guide rank against model rank. {said}.", natural=True)


def drawn(split: RecordedSplit) -> int:
    """Samples in the map."""
    ranked = sum(row.rank_guide is not None and row.rank_model is not None for row in split.rows)
    return min(ranked, MOST_POINTS)


def _even(rows: Sequence[SplitRow]) -> list[SplitRow]:
    places = np.linspace(0, len(rows) - 1, min(len(rows), MOST_POINTS)).astype(int)
    return [rows[place] for place in places]


def _points(axes: Axes, rows: Sequence[SplitRow], label: str, colour: str, marker: str) -> None:
    if rows:
        axes.scatter(
            *_places(rows), s=11, color=colour, marker=marker, alpha=0.65, linewidths=0, label=label,
            rasterized=len(rows) > VECTOR_POINTS // 3, zorder=3,
        )  # fmt: skip


def _places(rows: Sequence[SplitRow]) -> tuple[list[float], list[float]]:
    return [row.rank_model or 0.0 for row in rows], [row.rank_guide or 0.0 for row in rows]


def _lines(axes: Axes, thresholds: Mapping[str, Sequence[float]]) -> None:
    """Dashed where clean ends, dotted where triggered begins."""
    for score, draw in (("s_guide", axes.axhline), ("s_model", axes.axvline)):
        for place, dashes in zip(thresholds.get(score, ()), ("--", ":"), strict=False):
            draw(place, color=MUTED, linewidth=1.0, linestyle=dashes, zorder=2)
