"""Tables of means over seeds, as Markdown and as LaTeX."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from fedcrucible.comparison.plan.cell import value_text
from fedcrucible.comparison.tables.frame import combinations
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.reports.statistics.spread import Spread, spread

MISSING = "-"


@dataclass(frozen=True)
class Grid:
    """A table as text: headings, then rows, the first ``keys`` columns of which say what the row is."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    keys: int

    def markdown(self) -> str:
        """As Markdown."""
        lines = ["| " + " | ".join(map(_md, self.heads)) + " |", "|" + " --- |" * len(self.heads)]
        return "\n".join([*lines, *("| " + " | ".join(map(_md, row)) + " |" for row in self.rows)])


def mean_interval(found: Spread, usual: int = 3) -> str:
    """``mean ± half-width`` of Student's 95 % interval over seeds, with their number where it isn't the usual one."""
    if found.high is None:
        return f"{found.mean:.2f}" if usual == 1 else f"{found.mean:.2f} (1 seed)"
    seeds = "" if found.count == usual else f" ({found.count} seeds)"
    return f"{found.mean:.2f} ± {found.high - found.mean:.2f}{seeds}"


def column_spread(frame: pd.DataFrame, name: str) -> Spread | None:
    """Mean and spread of a column's known values."""
    return spread([float(value) for value in frame[name].dropna()]) if name in frame else None


def pivot(
    frame: pd.DataFrame,
    rows: Sequence[str],
    column: str | None,
    text: Callable[[pd.DataFrame], str],
    head: str = "",
) -> Grid:
    """A row per combination of ``rows``, a column per value of ``column`` (or one called ``head``), in their order."""
    columns = frame[column].drop_duplicates().tolist() if column else [None]
    body = []
    for key, part in combinations(frame, rows):
        chosen = [part[part[column] == value] if column else part for value in columns]
        body.append((*map(_label, key), *(MISSING if one.empty else text(one) for one in chosen)))
    heads = [head if value is None else _label(value) for value in columns]
    return Grid((*rows, *heads), tuple(body), len(rows))


def table(frame: pd.DataFrame, rows: Sequence[str], column: str | None, values: Sequence[str], usual: int = 3) -> str:
    """Markdown table of means with intervals: ``a / b`` of ``values`` in each cell."""

    def text(part: pd.DataFrame) -> str:
        found = [column_spread(part, name) for name in values]
        return " / ".join(MISSING if one is None else mean_interval(one, usual) for one in found)

    return pivot(frame, rows, column, text, " / ".join(values)).markdown()


def wide(frame: pd.DataFrame, rows: Sequence[str], values: dict[str, str], usual: int = 3) -> Grid:
    """A row per combination, a column per number: ``values`` maps the frame's columns to headings."""
    body = []
    for key, part in combinations(frame, rows):
        found = [column_spread(part, name) for name in values]
        body.append((*map(_label, key), *(MISSING if one is None else mean_interval(one, usual) for one in found)))
    return Grid((*rows, *values.values()), tuple(body), len(rows))


def latex_escape(text: str) -> str:
    """Text that LaTeX prints as it is, on one line: a line's end would end a comment too.

    In any font encoding, for which the straight quote needs typewriter type; a bracket at a row's beginning would be an
    option of the line's end before it.
    """
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$",
               "†": r"$^\dagger$", "‡": r"$^\ddagger$", "<": r"\textless{}", ">": r"\textgreater{}",
               "|": r"\textbar{}", '"': r"\texttt{\char34}",
               "[": "{[}", "]": "{]}"}  # fmt: skip
    return "".join(special.get(char, f"\\{char}" if char in "&%$#_{}" else char) for char in " ".join(text.split()))


def _label(value: Scalar) -> str:
    return value_text(value.item() if hasattr(value, "item") else value)


def markdown_text(text: str) -> str:
    """Text on one line of Markdown that starts no tag."""
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", " ".join(text.split()))


def _md(text: str) -> str:
    """A table's cell: lines stay apart."""
    return "<br>".join(markdown_text(line) for line in text.splitlines()).replace("|", "\\|")
