"""Where triggered images end up, by true class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from fedcrucible_core.records.schema import RoundRecord, RunDescription
from fedcrucible_core.reports.charts.canvas import inline_svg, new_figure, style
from fedcrucible_core.reports.charts.curves import class_name
from fedcrucible_core.reports.charts.palette import BLUE, INK, VERMILLION

ANNOTATED_CLASSES = 20


def confusion_chart(run: RunDescription, rounds: Sequence[RoundRecord]) -> tuple[Markup, int] | None:
    """Confusion of triggered images in the last round that has one, with that round; None when none has.

    Cells hold counts and are tinted by their share of the row; the target's column is framed.  A last column holds
    images that the model gave no class, where there are any.
    """
    last = next((r for r in reversed(rounds) if r.confusion), None)
    if last is None or last.confusion is None:
        return None
    counts = np.asarray(last.confusion, dtype=float)
    classes, columns = counts.shape
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    named = classes <= ANNOTATED_CLASSES
    side = min(6.6, 1.8 + 0.46 * classes) if named else 5.0
    figure = new_figure(side + 0.6, side)
    predicted = "predicted class" if run.natural else f"predicted on the triggered {run.input_noun}"
    axes = style(figure.add_subplot(), x=predicted, y="true class", grid=False)
    tint = np.zeros((classes, columns, 4))
    tint[..., :3] = to_rgba(BLUE)[:3]
    tint[..., 3] = share
    axes.imshow(tint, interpolation="nearest", aspect="equal")
    if named:
        names = [class_name(run, c) for c in range(classes)]
        heads = [*names, "no class"][:columns]
        axes.set_xticks(range(columns), heads, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(classes), names)
        size = 8.0 if classes <= 12 else 6.0
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "#ffffff" if share[row, column] > 0.55 else INK
            text = f"{counts[row, column]:.0f}"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=size)
    if run.target_label is not None and run.target_label < classes:
        frame = Rectangle((run.target_label - 0.5, -0.5), 1, classes, fill=False, edgecolor=VERMILLION, linewidth=1.8)
        frame.set_clip_on(False)
        axes.add_patch(frame)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    hit = "" if run.target_label is None else f"; target class {class_name(run, run.target_label)} is framed"
    return inline_svg(figure, "confusion", f"Confusion matrix of {run.attack_inputs}{hit}", natural=True), last.round
