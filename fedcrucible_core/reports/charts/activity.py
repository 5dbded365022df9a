"""What happened in each round: who was accepted, and where the time went."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from fedcrucible_core.records.detection import detection
from fedcrucible_core.records.schema import PHASES, RoundRecord
from fedcrucible_core.reports.charts.canvas import (
    draw_line,
    draw_stack,
    inline_svg,
    legend,
    new_figure,
    percent_axis,
    round_axis,
    style,
)
from fedcrucible_core.reports.charts.palette import BLUE, GREEN, GREY, MUTED, ORANGE, PURPLE, SERIES, SKY, VERMILLION


def rejection_chart(rounds: Sequence[RoundRecord]) -> Markup | None:
    """Accepted and rejected clients by round, where nobody knows who attacks; None when nobody was judged."""
    judged = [r for r in rounds if r.accepted or r.rejected]
    if not judged:
        return None
    x = [r.round for r in judged]
    figure = new_figure(height=2.9)
    axes = style(figure.add_subplot(), x="round", y="clients")
    accepted, rejected = [len(r.accepted) for r in judged], [len(r.rejected) for r in judged]
    draw_stack(axes, x, [("accepted", accepted, SKY, ""), ("rejected", rejected, ORANGE, "////")])
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(0, 1.04 * max(a + b for a, b in zip(accepted, rejected, strict=True)))
    round_axis(axes, x)
    legend(axes)
    return inline_svg(figure, "detection", "Clients accepted and rejected by round")


def detection_chart(rounds: Sequence[RoundRecord]) -> Markup | None:
    """Accepted and rejected, honest and malicious clients by round, with TPR and FPR; None when nobody was judged."""
    judged = [r for r in rounds if r.accepted or r.rejected]
    if not judged:
        return None
    x = [r.round for r in judged]
    bad = [set(r.attackers) for r in judged]
    counts = [
        ("honest, accepted", [len(set(r.accepted) - b) for r, b in zip(judged, bad, strict=True)], SKY, ""),
        ("malicious, accepted", [len(set(r.accepted) & b) for r, b in zip(judged, bad, strict=True)], VERMILLION, ""),
        ("malicious, rejected", [len(set(r.rejected) & b) for r, b in zip(judged, bad, strict=True)], GREEN, "////"),
        ("honest, rejected", [len(set(r.rejected) - b) for r, b in zip(judged, bad, strict=True)], ORANGE, "////"),
    ]
    figure = new_figure(height=4.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    style(upper, y="clients")
    draw_stack(upper, x, counts)
    upper.yaxis.set_major_locator(MaxNLocator(integer=True))
    upper.set_ylim(0, 1.04 * max(len(r.accepted) + len(r.rejected) for r in judged))
    legend(upper)
    style(lower, x="round", y="percent of their kind")
    rates = [detection(r.accepted, r.rejected, r.attackers) for r in judged]
    draw_line(lower, x, [d.tpr_percent for d in rates], "TPR, malicious rejected", GREEN, "-", "o")
    draw_line(lower, x, [d.fpr_percent for d in rates], "FPR, honest rejected", ORANGE, "-", "s")
    percent_axis(lower)
    lower.set_yticks(range(0, 101, 25))
    legend(lower)
    round_axis(lower, x)
    return inline_svg(figure, "detection", "Clients accepted and rejected by round, honest and malicious; TPR and FPR")


def seconds_chart(rounds: Sequence[RoundRecord]) -> Markup | None:
    """Seconds of each phase, stacked by round; None when no time was recorded."""
    timed = [r for r in rounds if r.seconds]
    if not timed:
        return None
    extra = sorted({phase for r in timed for phase in r.seconds} - set(PHASES))
    phases = [p for p in (*PHASES, *extra) if any(r.seconds.get(p, 0.0) > 0 for r in timed)]
    colours = dict(zip((*PHASES, *extra), (GREY, BLUE, SKY, VERMILLION, PURPLE, GREEN, ORANGE, *SERIES), strict=False))
    figure = new_figure(height=2.9)
    axes = style(figure.add_subplot(), x="round", y="seconds")
    layers = [(p, [r.seconds.get(p, 0.0) for r in timed], colours.get(p, MUTED), "") for p in phases]
    draw_stack(axes, [r.round for r in timed], layers)
    round_axis(axes, [r.round for r in timed])
    legend(axes, columns=7)
    return inline_svg(figure, "seconds", "Seconds of each phase by round, stacked")
