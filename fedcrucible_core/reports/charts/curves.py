"""Accuracy and attack success by round, recall by class."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.axes import Axes

from fedcrucible_core.records.schema import RATES, RoundRecord, RunDescription
from fedcrucible_core.reports.charts.canvas import (
    draw_line,
    inline_svg,
    legend,
    new_figure,
    percent_axis,
    round_axis,
    style,
)
from fedcrucible_core.reports.charts.palette import BLUE, MUTED, ORANGE, TONES, VERMILLION
from fedcrucible_core.reports.charts.series import MARKERS


def accuracy_chart(rounds: Sequence[RoundRecord], measured_on: str = "test images") -> Markup | None:
    """MA, ASR and base rate by round with the attack's rounds shaded; None without an evaluated round."""
    measured = [r for r in rounds if r.ma_percent is not None]
    if not measured:
        return None
    figure = new_figure(height=3.3)
    axes = style(figure.add_subplot(), x="round", y=f"percent of {measured_on}")
    last = max(r.round for r in rounds)
    _shade_attack(axes, rounds)
    if any(r.asr_percent is not None for r in measured):
        axes.axhline(20, color=VERMILLION, linewidth=0.7, linestyle=(0, (2, 3)), alpha=0.7)
    drawn = {field: number for field, number in RATES.items() if number.tone}
    for place, (field, number) in enumerate(drawn.items()):
        values = [getattr(r, field) for r in measured]
        dashes = "-" if number.better else "--"
        marker = MARKERS[place] if number.better else ""
        label = f"{number.title}, {number.meaning}"
        draw_line(axes, [r.round for r in measured], values, label, TONES[number.tone], dashes, marker)
    percent_axis(axes)
    round_axis(axes, [r.round for r in rounds])
    legend(axes)
    final = measured[-1]
    return inline_svg(
        figure,
        "accuracy",
        f"MA and ASR by round up to round {last}; last values: "
        + ", ".join(f"{number.title} {_say(getattr(final, field))}" for field, number in drawn.items()),
    )


def recall_chart(run: RunDescription, rounds: Sequence[RoundRecord]) -> Markup | None:
    """Per-class recall of the last round that measured it; None when none did."""
    last = next((r for r in reversed(rounds) if r.per_class_recall_percent), None)
    if last is None or len(last.per_class_recall_percent) > 60:
        return None
    values = [0.0 if v is None else v for v in last.per_class_recall_percent]
    names = [class_name(run, c) for c in range(len(values))]
    figure = new_figure(height=0.7 + 0.24 * len(values))
    axes = style(figure.add_subplot(), x=f"recall on {run.measured} after round {last.round} (%)", grid=False)
    colours = [ORANGE if c == run.target_label else BLUE for c in range(len(values))]
    axes.barh(range(len(values)), values, color=colours, height=0.7)
    axes.set_yticks(range(len(values)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, 108)
    for place, value in enumerate(last.per_class_recall_percent):
        text = f"no {run.measured.split()[-2]} {run.input_noun}" if value is None else f"{value:.1f}"
        axes.text(values[place] + 1, place, text, va="center", fontsize=8, color=MUTED)
    said = ", ".join(f"{n} {v:.1f} %" for n, v in zip(names, values, strict=True))
    return inline_svg(figure, "recall", f"Recall by class: {said}")


def class_name(run: RunDescription, label: int) -> str:
    """The class's name, or its number where no names are recorded."""
    return run.class_names[label] if 0 <= label < len(run.class_names) else str(label)


def _shade_attack(axes: Axes, rounds: Sequence[RoundRecord]) -> None:
    active = [r.round for r in rounds if r.attack_active]
    runs: list[list[int]] = []
    for number in active:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    for place, (first, last) in enumerate(runs):
        label = "attack active" if place == 0 else None
        axes.axvspan(first - 0.5, last + 0.5, color=VERMILLION, alpha=0.09, linewidth=0, label=label)


def _say(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.1f} %"
