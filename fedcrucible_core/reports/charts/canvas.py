"""Matplotlib figures without pyplot, and figures as SVG that can stand inside a page."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fedcrucible_core.reports.charts.palette import CARD, GRID, INK, MUTED, VARIABLES

mpl.rcParams["text.parse_math"] = False  # a name that holds a dollar sign is no formula
FONT_SIZE = 9.0
MANY_ROUNDS = 60
"""More rounds than this are drawn without markers, and as areas instead of bars."""
WIDTH = 7.4
"""Inches; a page shows charts a third larger than they are drawn."""


def new_figure(width: float = WIDTH, height: float = 3.0) -> Figure:
    """An empty figure that lays itself out."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.patch.set_visible(False)
    return figure


def style(axes: Axes, *, x: str = "", y: str = "", title: str = "", grid: bool = True) -> Axes:
    """The look that all charts share; ``x`` and ``y`` are axis labels with units."""
    axes.patch.set_visible(False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(MUTED)
        axes.spines[side].set_linewidth(0.8)
    axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=FONT_SIZE - 0.5, length=3, width=0.8)
    axes.set_xlabel(x, color=INK, fontsize=FONT_SIZE)
    axes.set_ylabel(y, color=INK, fontsize=FONT_SIZE)
    if title:
        axes.set_title(title, color=INK, fontsize=FONT_SIZE + 0.5, loc="left", fontweight="bold")
    if grid:
        axes.grid(axis="y", color=GRID, linewidth=0.7)
        axes.set_axisbelow(True)
    return axes


def round_axis(axes: Axes, rounds: Sequence[int]) -> None:
    """Whole numbers on the axis of rounds, with a little air at both ends."""
    axes.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True))
    first, last = (min(rounds), max(rounds)) if rounds else (0, 1)
    air = max(0.6, 0.02 * (last - first))
    axes.set_xlim(first - air, last + air)


def percent_axis(axes: Axes) -> None:
    """0 to 100 % on the y axis."""
    axes.set_ylim(-2, 102)
    axes.set_yticks(range(0, 101, 20))


def legend(axes: Axes, columns: int = 4) -> None:
    """A frameless legend above the axes."""
    handles, _ = axes.get_legend_handles_labels()
    if handles:
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(0.0, 1.0),
            ncols=columns,
            frameon=False,
            fontsize=FONT_SIZE - 0.5,
            labelcolor=INK,
            borderaxespad=0.2,
            handlelength=1.6,
            columnspacing=1.4,
        )


def draw_line(
    axes: Axes, x: Sequence[int], values: Sequence[float | None], label: str, colour: str, dashes: str, marker: str
) -> None:
    """One series against rounds; rounds without a value are skipped."""
    points = [(a, b) for a, b in zip(x, values, strict=True) if b is not None]
    if not points:
        return
    shown = marker if len(points) <= MANY_ROUNDS else ""
    axes.plot(*zip(*points, strict=True), color=colour, linestyle=dashes, marker=shown, markersize=3.6, label=label,
              linewidth=1.8 if dashes == "-" else 1.3, clip_on=False)  # fmt: skip


def draw_stack(axes: Axes, x: Sequence[int], layers: Sequence[tuple[str, Sequence[float], str, str]]) -> None:
    """Stacked bars, or areas when there are too many rounds; a layer is (label, values, colour, hatch)."""
    bottom = np.zeros(len(x))
    for label, values, colour, hatch in layers:
        height = np.asarray(values, dtype=float)
        if len(x) > MANY_ROUNDS:
            axes.fill_between(x, bottom, bottom + height, color=colour, linewidth=0, label=label, step="mid")
        elif height.any():
            axes.bar(x, height, 0.78, bottom, color=colour, label=label, hatch=hatch, linewidth=0, edgecolor=CARD)
        bottom = bottom + height


def inline_svg(figure: Figure, name: str, alt: str, *, dpi: int = 144, natural: bool = False) -> Markup:
    """The figure as an SVG element for a page: scalable, themed, with ids that start with ``name``.

    ``alt`` is read out by screen readers. Bitmaps within the figure get ``dpi``. ``natural`` keeps the drawn size
    instead of filling the page's width.
    """
    stream = io.StringIO()
    settings: dict[str, Any] = {"svg.fonttype": "none", "svg.hashsalt": name}
    with mpl.rc_context(settings):
        figure.savefig(stream, format="svg", dpi=dpi, metadata={"Date": None}, transparent=False)
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<style type=\"text/css\">.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"font-family: [^;\"]*", "font-family: inherit", text)
    text = re.sub(r"font: (?:(\w+) )?([\d.]+px) [^;\"]*", _font, text)
    text = _unique(text, re.sub(r"[^\w-]+", "-", name))
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    width = figure.get_size_inches()[0] * 115.0
    size = f' style="max-width: {width:.0f}px; min-width: min({width:.0f}px, 520px)"' if natural else ""
    opening = f'<svg role="img" aria-label="{html.escape(alt)}"{size}'
    text = re.sub(r"<svg\b[^>]*?(viewBox=\"[^\"]*\")[^>]*>", lambda m: f"{opening} {m[1]}>", text, count=1)
    return Markup(text)


def _font(found: re.Match[str]) -> str:
    weight = f"font-weight: {found[1]}; " if found[1] else ""
    return f"{weight}font-size: {found[2]}; font-family: inherit"


def _unique(text: str, prefix: str) -> str:
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r'(?:xlink:)?href="#([^"]+)"', rf'href="#{prefix}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", text)
    return re.sub(r"xlink:href=", "href=", text)
