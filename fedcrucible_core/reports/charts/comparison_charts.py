"""Charts over several runs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedcrucible_core.reports.charts.canvas import (
    FONT_SIZE,
    MANY_ROUNDS,
    inline_svg,
    new_figure,
    percent_axis,
    round_axis,
    style,
)
from fedcrucible_core.reports.charts.palette import GRID, INK, SERIES
from fedcrucible_core.reports.statistics.comparison_groups import Group

DASHES = ("-", "--", ":", "-.")
MARKERS = "osD^vP*X"
PANELS_HEIGHT, LINE_HEIGHT = 3.5, 0.2
"""Inches of the panels of a chart, and of a line of the legend below it."""
LEGEND_CHARACTERS, KEY_CHARACTERS = 120, 8
"""Characters in a line of a legend below a chart, and those that a line's sample and the gap after it take."""


def tradeoff_chart(cells: Sequence[Group]) -> Markup | None:
    """MA against ASR, one labelled point per cell; None when no cell has both."""
    several = len({cell.attack for cell in cells}) > 1
    points = []
    for cell in cells:
        ma, asr = cell.spread_of("ma_percent"), cell.spread_of("asr_percent")
        if ma is not None and asr is not None:
            points.append((_name(cell, several), ma, asr))
    if not points:
        return None
    figure = new_figure(height=4.0)
    axes = style(figure.add_subplot(), x="ASR: attack success (%), lower is better", y="MA: clean accuracy (%)")
    axes.grid(axis="x", color=GRID, linewidth=0.7)
    for place, (label, ma, asr) in enumerate(points):
        axes.errorbar(
            asr.mean, ma.mean, xerr=asr.deviation, yerr=ma.deviation, color=SERIES[place % len(SERIES)],
            marker=MARKERS[place % len(MARKERS)], markersize=8, linestyle="", elinewidth=1.1, capsize=2.5, label=label,
        )  # fmt: skip
    axes.set_xlim(-3, 103)
    values = [ma.mean for _, ma, _ in points]
    air = max(5.0, 0.15 * (max(values) - min(values)))
    axes.set_ylim(max(-2.0, min(values) - air), min(102.0, max(values) + air))
    _outside_legend(axes)
    said = "; ".join(f"{label}: MA {ma.mean:.1f} %, ASR {asr.mean:.1f} %" for label, ma, asr in points)
    return inline_svg(figure, "tradeoff", f"MA against ASR. {said}")


def curves_chart(cells: Sequence[Group]) -> Markup | None:
    """MA and ASR by round, one line per cell; None when no round was evaluated."""
    several = len({cell.attack for cell in cells}) > 1
    lines = [
        (_name(cell, several), _mean_curve(cell, "ma_percent"), _mean_curve(cell, "asr_percent"))
        for cell in cells
    ]  # fmt: skip
    rounds = [r for _, ma, _ in lines for r in ma]
    if not rounds:
        return None
    figure = new_figure(height=_height([label for label, _, _ in lines], 4))
    left, right = figure.subplots(1, 2, sharex=True)
    for axes, name in ((left, "MA: clean accuracy (%)"), (right, "ASR: attack success (%)")):
        style(axes, x="round", title=name)
        percent_axis(axes)
    for place, (label, ma, asr) in enumerate(lines):
        _curve(left, ma, place, label)
        _curve(right, asr, place, label)
    round_axis(left, rounds)
    handles, labels = left.get_legend_handles_labels()
    _legend_below(figure, handles, labels, 4)
    return inline_svg(figure, "curves", "MA and ASR by round for " + ", ".join(label for label, _, _ in lines))


def sweep_chart(cells: Sequence[Group], key: str) -> Markup | None:
    """MA and ASR against a swept setting, one line per strategy and attack; None without two numeric values."""
    lines: dict[str, list[tuple[float, Group]]] = {}
    for cell in cells:
        if isinstance(cell.sweep_value, int | float):
            lines.setdefault(f"{cell.label} ({cell.attack})", []).append((float(cell.sweep_value), cell))
    if len({x for line in lines.values() for x, _ in line}) < 2:
        return None
    figure = new_figure(height=_height(list(lines), 3))
    panels = zip(figure.subplots(1, 2), ("ma_percent", "asr_percent"), ("MA (%)", "ASR (%)"), strict=True)
    for axes, name, title in panels:
        style(axes, x=key, title=title)
        percent_axis(axes)
        for place, (label, line) in enumerate(lines.items()):
            points = [(x, found) for x, cell in line if (found := cell.spread_of(name)) is not None]
            points.sort(key=lambda point: point[0])
            if points:
                axes.errorbar(
                    [x for x, _ in points], [s.mean for _, s in points], yerr=[s.deviation or 0.0 for _, s in points],
                    color=SERIES[place % len(SERIES)], linestyle=_dash(place), marker=MARKERS[place % len(MARKERS)],
                    markersize=4, capsize=2, label=label,
                )  # fmt: skip
    handles, labels = figure.axes[0].get_legend_handles_labels()
    _legend_below(figure, handles, labels, 3)
    return inline_svg(figure, "sweep", f"MA and ASR against {key} for " + ", ".join(lines))


def _legend_below(figure: Figure, handles: Sequence[Any], labels: Sequence[str], most: int) -> None:
    figure.legend(
        handles, labels, loc="outside lower center", ncols=_columns(labels, most), frameon=False,
        fontsize=FONT_SIZE - 0.5, labelcolor=INK,
    )  # fmt: skip


def _columns(labels: Sequence[str], most: int) -> int:
    """As many columns as long labels leave room for: a wider legend would squeeze the panels."""
    return max(1, min(most, LEGEND_CHARACTERS // (max(map(len, labels), default=0) + KEY_CHARACTERS)))


def _height(labels: Sequence[str], most: int) -> float:
    """Inches of two panels above a legend that may need several lines."""
    return PANELS_HEIGHT + LINE_HEIGHT * -(-len(labels) // _columns(labels, most))


def _name(cell: Group, several: bool) -> str:
    """Title, with the attack where there are several, and with what is wrong with its numbers."""
    extra = [cell.attack] if several else []
    extra += [cell.flaw] if cell.flaw else []
    return f"{cell.title} ({', '.join(extra)})" if extra else cell.title


def _mean_curve(cell: Group, name: str) -> dict[int, float]:
    values: dict[int, list[float]] = {}
    for run in cell.runs:
        for record in run.rounds:
            value = getattr(record, name)
            if value is not None:
                values.setdefault(record.round, []).append(value)
    return {number: statistics.fmean(found) for number, found in sorted(values.items())}


def _curve(axes: Axes, curve: Mapping[int, float], place: int, label: str) -> None:
    if not curve:  # a line of nothing that isn't clipped would be given room by the layout, and squeeze the panels
        return
    axes.plot(
        list(curve), list(curve.values()), color=SERIES[place % len(SERIES)], linestyle=_dash(place), linewidth=1.6,
        marker=MARKERS[place % len(MARKERS)] if len(curve) <= MANY_ROUNDS // 2 else "", markersize=3.2, label=label,
        clip_on=False,
    )  # fmt: skip


def _dash(place: int) -> str:
    return DASHES[(place // len(SERIES)) % len(DASHES)]


def _outside_legend(axes: Axes) -> None:
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=FONT_SIZE - 0.5, labelcolor=INK)
