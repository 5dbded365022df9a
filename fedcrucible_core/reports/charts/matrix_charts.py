"""Charts of a matrix: curves with bands, detection curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedcrucible_core.records.reader import RecordedRun
from fedcrucible_core.records.schema import RoundRecord
from fedcrucible_core.reports.charts.canvas import (
    FONT_SIZE,
    WIDTH,
    inline_svg,
    new_figure,
    percent_axis,
    round_axis,
    style,
)
from fedcrucible_core.reports.charts.palette import GREY, INK, SERIES
from fedcrucible_core.reports.statistics.roc import Roc, curve_of_runs

DASHES = ("-", "--", ":", "-.")
PANELS = 3
"""Detection curves side by side."""


class Row(Protocol):
    """A system's runs."""

    @property
    def system(self) -> str:
        """Its name."""

    @property
    def runs(self) -> Sequence[RecordedRun]:
        """One run per seed."""


class Spot(Protocol):
    """What the systems faced."""

    @property
    def column(self) -> str:
        """Its name within the block."""

    @property
    def title(self) -> str:
        """Its full name."""

    @property
    def rows(self) -> Sequence[Row]:
        """The systems."""


def bands_chart(spot: Spot, systems: Sequence[str], name: str) -> Markup | None:
    """MA and ASR by round, the mean of all seeds with a band from the lowest to the highest; None without rounds."""
    rounds = [r.round for row in spot.rows for run in row.runs for r in run.rounds if r.ma_percent is not None]
    if not rounds:
        return None
    measures = [("ma_percent", "MA: clean accuracy (%)")]
    if any(r.asr_percent is not None for row in spot.rows for run in row.runs for r in run.rounds):
        measures.append(("asr_percent", "ASR: attack success (%)"))
    figure = new_figure(WIDTH * len(measures) / 2, 3.1)
    panels = figure.subplots(1, len(measures), sharex=True, squeeze=False)[0]
    for axes, (key, title) in zip(panels, measures, strict=True):
        style(axes, x="round", title=title)
        percent_axis(axes)
        for row in spot.rows:
            _band(axes, row, key, systems.index(row.system))
    round_axis(panels[0], rounds)
    _legend_below(figure, panels[0])
    said = " and ".join(title.partition(":")[0] for _, title in measures)
    systems_said = ", ".join(row.system for row in spot.rows)
    return inline_svg(figure, name, f"{said} by round, {spot.title}: {systems_said}", natural=len(measures) == 1)


def roc_chart(block: Sequence[Spot], systems: Sequence[str], name: str) -> Markup | None:
    """Detection curves of all systems whose rules report scores, one panel per spot; None where no rule does."""
    found = [
        (spot, [(row, roc) for row in spot.rows if (roc := curve_of_runs(row.runs)) is not None]) for spot in block
    ]
    shown = [(spot, rows) for spot, rows in found if rows]
    if not shown:
        return None
    columns = min(PANELS, len(shown))
    lines = -(-len(shown) // columns)
    figure = new_figure(WIDTH * columns / PANELS, 0.6 + 2.6 * lines)
    drawn: dict[str, Axes] = {}
    for place, (spot, rows) in enumerate(shown):
        axes = style(figure.add_subplot(lines, columns, place + 1), x="FPR", y="TPR", title=spot.column)
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (2, 3)))
        for row, roc in rows:
            _roc_line(axes, row, roc, systems.index(row.system))
            drawn.setdefault(row.system, axes)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_aspect("equal")
    _legend_below(figure, *dict.fromkeys(drawn.values()))
    said = "; ".join(
        f"{spot.column}: " + ", ".join(f"{row.system} {roc.auroc:.2f}" for row, roc in rows) for spot, rows in shown
    )
    return inline_svg(figure, name, f"Detection curves, AUROC {said}", natural=columns < PANELS)


def _band(axes: Axes, row: Row, key: str, place: int) -> None:
    values: dict[int, list[float]] = {}
    for run in row.runs:
        for record in run.rounds:
            value = _value(record, key)
            if value is not None:
                values.setdefault(record.round, []).append(value)
    if not values:
        return
    x = sorted(values)
    colour = SERIES[place % len(SERIES)]
    means = [math.fsum(values[r]) / len(values[r]) for r in x]
    axes.plot(x, means, color=colour, linestyle=_dash(place), linewidth=1.6, label=row.system, clip_on=False)
    if len(row.runs) > 1:
        axes.fill_between(
            x, [min(values[r]) for r in x], [max(values[r]) for r in x], color=colour, alpha=0.14, linewidth=0
        )


def _value(record: RoundRecord, key: str) -> float | None:
    value: float | None = getattr(record, key)
    return value


def _roc_line(axes: Axes, row: Row, roc: Roc, place: int) -> None:
    axes.plot(
        roc.fpr, roc.tpr, color=SERIES[place % len(SERIES)], linestyle=_dash(place), linewidth=1.5, label=row.system
    )


def _dash(place: int) -> str:
    return DASHES[(place // len(SERIES)) % len(DASHES)]


def _legend_below(figure: Figure, *panels: Axes) -> None:
    found: dict[str, Any] = {}
    for axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        for handle, label in zip(handles, labels, strict=True):
            found.setdefault(label, handle)
    columns = max(1, min(len(found), round(figure.get_figwidth() / WIDTH * 6)))
    figure.legend(
        list(found.values()), list(found), loc="outside lower center", ncols=columns, frameon=False,
        fontsize=FONT_SIZE - 0.5, labelcolor=INK,
    )  # fmt: skip
