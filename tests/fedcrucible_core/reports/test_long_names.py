"""Names that are longer than a chart is wide: rows and spots that differ in many settings."""

from __future__ import annotations

import warnings

from matplotlib.figure import Figure

from fedcrucible_core.reports.charts.canvas import WIDTH, inline_svg, new_figure
from fedcrucible_core.reports.charts.series import MOST_LINES, in_lines, legend_below, legend_height

LONG = "krum (" + ", ".join(f"defense.krum.setting_{number} = {number}" for number in range(20)) + ")"


def chart(labels: list[str]) -> Figure:
    figure = new_figure(WIDTH / 3, 2.0 + legend_height(labels, WIDTH / 3))
    axes = figure.add_subplot()
    for label in labels:
        axes.plot([0, 1], [0, 1], label=label)
    legend_below(figure, axes)
    return figure


def test_a_long_name_takes_a_few_lines_and_is_cut_off() -> None:
    lines = in_lines(LONG, 40).split("\n")
    assert len(lines) == MOST_LINES
    assert max(map(len, lines)) <= 40
    assert lines[-1].endswith("...")
    assert in_lines("krum", 40) == "krum"
    assert in_lines("", 40) == ""


def test_a_legend_of_long_names_leaves_the_panel_its_room() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = chart([LONG, LONG.replace("krum", "bulyan")])
        inline_svg(figure, "name", "alt")
    width, height = figure.axes[0].get_position().size
    assert width > 0.5
    assert height > 0.4


def test_a_legend_is_as_high_as_its_longest_name_has_lines() -> None:
    assert legend_height([LONG], WIDTH / 3) == MOST_LINES * legend_height(["krum"], WIDTH / 3)
