"""What clients measure on test data of their own, by round: mean, spread, and the client worst off."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.axes import Axes

from fedcrucible_core.records.schema import RATES, RoundRecord
from fedcrucible_core.reports.charts.canvas import inline_svg, legend, new_figure, percent_axis, round_axis, style
from fedcrucible_core.reports.charts.palette import TONES

MEASURED = {"ma": "ma_percent", "asr": "asr_percent"}
"""Name in the facts -> the rate that it is of."""


def clients_measure_chart(rounds: Sequence[RoundRecord]) -> Markup | None:
    """A panel for MA, one for ASR where clients measure it; None where no client was asked."""
    names = [name for name in MEASURED if any(_fact(name, "mean") in r.facts for r in rounds)]
    if not names:
        return None
    figure = new_figure(height=2.7)
    for place, name in enumerate(names):
        number = RATES[MEASURED[name]]
        axes = style(figure.add_subplot(1, len(names), place + 1), x="round", y=f"clients' {number.title}, percent")
        asked = [r for r in rounds if _fact(name, "mean") in r.facts]
        _draw(axes, asked, name, TONES[number.tone])
        percent_axis(axes)
        round_axis(axes, [r.round for r in asked])
        legend(axes, columns=1)
    return inline_svg(figure, "clients-measure", "What clients measure on their own test data, by round")


def _draw(axes: Axes, asked: Sequence[RoundRecord], name: str, colour: str) -> None:
    x = [r.round for r in asked]
    mean, spread, worst = ([r.facts.get(_fact(name, what), 0.0) for r in asked] for what in ("mean", "spread", "worst"))
    low = [max(0.0, a - b) for a, b in zip(mean, spread, strict=True)]
    high = [min(100.0, a + b) for a, b in zip(mean, spread, strict=True)]
    axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.plot(x, mean, color=colour, linewidth=1.8, marker="o", markersize=3.2, label="mean ± deviation over clients")
    axes.plot(x, worst, color=colour, linewidth=1.2, linestyle="--", label="the client worst off")


def _fact(name: str, what: str) -> str:
    return f"clients.{name}_{what}_percent"
