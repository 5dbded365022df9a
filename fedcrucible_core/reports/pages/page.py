"""From a template and its values to a page on disk."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from fedcrucible_core.config.atomic_file import write_atomic
from fedcrucible_core.config.plain_text import visible_lines
from fedcrucible_core.reports.pages import templates
from fedcrucible_core.reports.pages.matrix_template import MATRIX
from fedcrucible_core.reports.pages.stylesheet import CSS

MISSING = "\N{EN DASH}"
"""Shown where nothing was measured."""


def write_page(path: Path, template: str, **values: object) -> Path:
    """Render ``template`` ("report" or "matrix") to ``path`` in one step; returns the absolute path."""
    path = path.resolve()
    text = _environment().get_template(template).render(css=Markup(CSS), **values)
    write_atomic(path, visible_lines(text).encode())
    return path


def rate(value: float | None) -> str:
    """A rate to one decimal, or a dash where nothing was measured."""
    return MISSING if value is None else f"{value:.1f}"


def duration(seconds: float) -> str:
    """Seconds as a reader says them."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.1f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def size(count: int) -> str:
    """Bytes in decimal units."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"


@lru_cache(maxsize=1)
def _environment() -> Environment:
    pages = {
        "base": templates.BASE,
        "macros": templates.MACROS,
        "report": templates.REPORT,
        "matrix": MATRIX,
    }
    found = Environment(
        loader=DictLoader(pages), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    found.filters["rate"] = rate
    return found
