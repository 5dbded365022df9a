"""Detection curves of rules that report scores: TPR against FPR."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.axes import Axes

from fedcrucible_core.reports.charts.canvas import WIDTH, inline_svg, new_figure, style
from fedcrucible_core.reports.charts.palette import GREY
from fedcrucible_core.reports.charts.series import colour_of, dash_of, in_lines, legend_below, legend_height
from fedcrucible_core.reports.statistics.roc import curve_of_runs
from fedcrucible_core.reports.statistics.spots import Spot

PANELS = 3
"""Curves side by side."""
TITLE_CHARACTERS = 24
"""Characters in a line of a panel's title."""
PANEL_HEIGHT, AIR, TITLE_LINE = 2.6, 0.4, 0.16
"""Inches of a line of panels, of what stands around them, and of a further line of a title."""


def roc_chart(block: Sequence[Spot], systems: Sequence[str], name: str) -> Markup | None:
    """Curves of all rows whose rules report scores, one panel per spot; None where no rule does."""
    curves = [
        (spot, [(row, roc) for row in spot.rows if (roc := curve_of_runs(row.runs)) is not None]) for spot in block
    ]
    shown = [(spot, rows) for spot, rows in curves if rows]
    if not shown:
        return None
    columns = min(PANELS, len(shown))
    lines, width = -(-len(shown) // columns), WIDTH * columns / PANELS
    labels = list(dict.fromkeys(row.label for _, rows in shown for row, _ in rows))
    titles = [in_lines(spot.heading, TITLE_CHARACTERS) for spot, _ in shown]
    panel = PANEL_HEIGHT + TITLE_LINE * max(title.count("\n") for title in titles)
    figure = new_figure(width, AIR + panel * lines + legend_height(labels, width))
    panels: list[Axes] = []
    for number, (title, (_, rows)) in enumerate(zip(titles, shown, strict=True)):
        axes = style(figure.add_subplot(lines, columns, number + 1), x="FPR", y="TPR", title=title)
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (2, 3)))
        for row, roc in rows:
            place = systems.index(row.label)
            axes.plot(
                roc.fpr, roc.tpr, color=colour_of(place), linestyle=dash_of(place), linewidth=1.5, label=row.label
            )
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_aspect("equal")
        panels.append(axes)
    legend_below(figure, *panels)
    said = "; ".join(
        f"{spot.heading}: " + ", ".join(f"{row.label} {roc.auroc:.2f}" for row, roc in rows) for spot, rows in shown
    )
    return inline_svg(figure, name, f"Detection curves, AUROC {said}", natural=columns < PANELS)
