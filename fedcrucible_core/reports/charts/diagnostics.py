"""Small charts of whatever numbers the rule and the purifier reported."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from fedcrucible_core.records.schema import RoundRecord
from fedcrucible_core.reports.charts.canvas import FONT_SIZE, MANY_ROUNDS, inline_svg, new_figure, style
from fedcrucible_core.reports.charts.palette import BLUE, INK, ORANGE, SKY, VERMILLION

MOST = 12
COLUMNS = 3
POISONED = "honest, poisoned data"
KINDS = (("honest", SKY, "o"), (POISONED, ORANGE, "^"), ("malicious", VERMILLION, "x"))
"""Kinds of clients with colour and marker."""
LARGEST = 1e100
"""Larger numbers are left out: some are a client's word, and the arithmetic of an axis overflows on them."""


def facts_chart(rounds: Sequence[RoundRecord]) -> Markup | None:
    """One small line chart per reported number, the first twelve by name; None when there is none."""
    names = sorted({name for r in rounds for name, value in r.facts.items() if drawable(value)})[:MOST]
    if not names:
        return None
    rows = -(-len(names) // COLUMNS)
    figure = new_figure(height=0.3 + 1.45 * rows)
    for place, name in enumerate(names):
        axes = style(figure.add_subplot(rows, COLUMNS, place + 1), title=_short(name))
        points = [(r.round, r.facts[name]) for r in rounds if drawable(r.facts.get(name, math.nan))]
        marker = "o" if len(points) <= MANY_ROUNDS else ""
        axes.plot(*zip(*points, strict=True), color=BLUE, linewidth=1.4, marker=marker, markersize=2.6)
        _small(axes)
    return inline_svg(figure, "facts", "Diagnostics by round: " + ", ".join(names))


def clients_chart(rounds: Sequence[RoundRecord], upstream: Collection[int] = ()) -> Markup | None:
    """One small scatter per diagnostic of clients; None when there is none.

    Malicious ones stand apart, and so do honest ones (``upstream``) whose data came to them poisoned.
    """
    names = sorted({name for r in rounds for name, values in r.per_client.items() if len(values) == len(r.weights)})
    if not names:
        return None
    names = names[:MOST]
    rows = -(-len(names) // COLUMNS)
    figure = new_figure(height=0.5 + 1.75 * rows)
    for place, name in enumerate(names):
        axes = style(figure.add_subplot(rows, COLUMNS, place + 1), title=_short(name))
        for kind, colour, marker in KINDS:
            points = _points(rounds, name, kind, upstream)
            if points:
                x, y = zip(*points, strict=True)
                axes.scatter(
                    x, y, s=9, color=colour, marker=marker, linewidths=1.0, alpha=0.8, rasterized=True, label=kind
                )
        _small(axes)
        if place == 0:
            handles, labels = axes.get_legend_handles_labels()
            if handles:
                figure.legend(
                    handles, labels, loc="outside upper left", ncols=len(KINDS), frameon=False,
                    fontsize=FONT_SIZE - 0.5, labelcolor=INK,
                )  # fmt: skip
    return inline_svg(figure, "clients", "Diagnostics of clients by round: " + ", ".join(names))


def _points(rounds: Sequence[RoundRecord], name: str, kind: str, upstream: Collection[int]) -> list[tuple[int, float]]:
    found = []
    for record in rounds:
        values = record.per_client.get(name, [])
        if len(values) != len(record.weights):
            continue
        kind_of = dict.fromkeys(map(str, upstream), POISONED) | dict.fromkeys(map(str, record.malicious), "malicious")
        found += [
            (record.round, value)
            for client, value in zip(record.weights, values, strict=True)
            if kind_of.get(client, "honest") == kind and drawable(value)
        ]
    return found


def drawable(value: float) -> bool:
    """Whether an axis can hold a number."""
    return math.isfinite(value) and abs(value) <= LARGEST


def _small(axes: Axes) -> None:
    axes.tick_params(labelsize=FONT_SIZE - 1.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))


def _short(name: str) -> str:
    return name if len(name) <= 34 else name[:33] + "…"
