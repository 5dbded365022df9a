"""MA and ASR by round: the mean of all seeds with a band from the lowest to the highest."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.axes import Axes

from fedcrucible_core.records.schema import RATES
from fedcrucible_core.reports.charts.canvas import WIDTH, inline_svg, new_figure, percent_axis, round_axis, style
from fedcrucible_core.reports.charts.series import colour_of, dash_of, legend_below, legend_height
from fedcrucible_core.reports.statistics.rows import Row
from fedcrucible_core.reports.statistics.spots import Spot

SHOWN = ("ma_percent", "asr_percent")
PANELS_HEIGHT = 2.9
"""Inches of the panels, without the legend."""


def bands_chart(spot: Spot, systems: Sequence[str], name: str) -> Markup | None:
    """One line per row of a spot; ``systems`` gives each its colour. None when no round was evaluated."""
    records = [record for row in spot.rows for run in row.runs for record in run.rounds]
    rounds = [record.round for record in records if record.ma_percent is not None]
    if not rounds:
        return None
    fields = [field for field in SHOWN if any(getattr(record, field) is not None for record in records)]
    width, drawn = WIDTH * len(fields) / len(SHOWN), [row.label for row in spot.rows if row.runs]
    figure = new_figure(width, PANELS_HEIGHT + legend_height(drawn, width))
    panels = figure.subplots(1, len(fields), sharex=True, squeeze=False)[0]
    for axes, field in zip(panels, fields, strict=True):
        style(axes, x="round", title=f"{RATES[field].title}: {RATES[field].meaning} (%)")
        percent_axis(axes)
        for row in spot.rows:
            _band(axes, row, field, systems.index(row.label))
    round_axis(panels[0], rounds)
    legend_below(figure, *panels)
    said = " and ".join(RATES[field].title for field in fields)
    shown = f", {spot.title}" if spot.title else ""
    return inline_svg(figure, name, f"{said} by round{shown}: {', '.join(drawn)}", natural=len(fields) == 1)


def _band(axes: Axes, row: Row, field: str, place: int) -> None:
    values: dict[int, list[float]] = {}
    for run in row.runs:
        for record in run.rounds:
            value = getattr(record, field)
            if value is not None:
                values.setdefault(record.round, []).append(value)
    if not values:  # a line of nothing that isn't clipped would be given room by the layout, and squeeze the panels
        return
    x = sorted(values)
    means = [math.fsum(values[number]) / len(values[number]) for number in x]
    colour = colour_of(place)
    axes.plot(x, means, color=colour, linestyle=dash_of(place), linewidth=1.6, label=row.label, clip_on=False)
    if len(row.runs) > 1:
        low, high = [min(values[number]) for number in x], [max(values[number]) for number in x]
        axes.fill_between(x, low, high, color=colour, alpha=0.14, linewidth=0)
