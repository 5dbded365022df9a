"""MA against ASR, and both against a swept setting."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from fedcrucible_core.records.schema import RATES
from fedcrucible_core.reports.charts.canvas import FONT_SIZE, inline_svg, new_figure, percent_axis, style
from fedcrucible_core.reports.charts.palette import GRID, INK
from fedcrucible_core.reports.charts.series import colour_of, dash_of, in_lines, legend_below, legend_height, marker_of
from fedcrucible_core.reports.statistics.from_records import SweptRow
from fedcrucible_core.reports.statistics.rows import Row
from fedcrucible_core.reports.statistics.spots import Spot

HEIGHT = 4.0
LABEL_CHARACTERS = 40
"""Characters in a line of the legend beside the points."""
MOST_POINTS = 24
"""Rows in one chart; of more none could be told from the others."""
SWEPT = ("ma_percent", "asr_percent")
PANELS_HEIGHT = 3.3
"""Inches of the panels above a legend."""


def tradeoff_chart(block: Sequence[Spot], systems: Sequence[str], name: str) -> Markup | None:
    """One labelled point per row; None when no row has both rates, or when there are too many."""
    points = []
    for spot in block:
        for row in spot.rows:
            if row.ma is not None and row.asr is not None:
                points.append((_name(row, spot if len(block) > 1 else None), systems.index(row.label), row.ma, row.asr))
    if not 0 < len(points) <= MOST_POINTS:
        return None
    figure = new_figure(height=HEIGHT)
    axes = style(figure.add_subplot(), x="ASR: attack success (%), lower is better", y="MA: clean accuracy (%)")
    axes.grid(axis="x", color=GRID, linewidth=0.7)
    for number, (label, place, ma, asr) in enumerate(points):
        axes.errorbar(
            asr.mean, ma.mean, xerr=asr.deviation, yerr=ma.deviation, color=colour_of(place), marker=marker_of(number),
            markersize=8, linestyle="", elinewidth=1.1, capsize=2.5,
            label=in_lines(label, LABEL_CHARACTERS),
        )  # fmt: skip
    axes.set_xlim(-3, 103)
    values = [ma.mean for _, _, ma, _ in points]
    air = max(5.0, 0.15 * (max(values) - min(values)))
    axes.set_ylim(max(-2.0, min(values) - air), min(102.0, max(values) + air))
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=FONT_SIZE - 0.5, labelcolor=INK)
    said = "; ".join(f"{label}: MA {ma.mean:.1f} %, ASR {asr.mean:.1f} %" for label, _, ma, asr in points)
    return inline_svg(figure, name, f"MA against ASR. {said}")


def sweep_chart(rows: Sequence[SweptRow], key: str) -> Markup | None:
    """MA and ASR against a setting, one line per system and attack; None without two values."""
    if len({row.value for row in rows}) < 2:
        return None
    lines: dict[str, list[SweptRow]] = {}
    for row in sorted(rows, key=lambda row: row.value):
        lines.setdefault(row.line, []).append(row)
    figure = new_figure(height=PANELS_HEIGHT + legend_height(list(lines)))
    panels = figure.subplots(1, len(SWEPT))
    for axes, field in zip(panels, SWEPT, strict=True):
        style(axes, x=key, title=RATES[field].heading)
        percent_axis(axes)
        for place, (label, line) in enumerate(lines.items()):
            points = [(one.value, found) for one in line if (found := one.row.spread_of(RATES[field].column))]
            if points:
                axes.errorbar(
                    [x for x, _ in points], [s.mean for _, s in points], yerr=[s.deviation or 0.0 for _, s in points],
                    color=colour_of(place), linestyle=dash_of(place), marker=marker_of(place), markersize=4, capsize=2,
                    label=label,
                )  # fmt: skip
    legend_below(figure, *panels)
    return inline_svg(figure, "sweep", f"MA and ASR against {key} for " + ", ".join(lines))


def _name(row: Row, spot: Spot | None) -> str:
    """Label, with what was faced where there are several, and with what is wrong with its numbers."""
    extra = [part for part in (spot.heading if spot else "", row.flaw) if part]
    return f"{row.label} ({', '.join(extra)})" if extra else row.label
