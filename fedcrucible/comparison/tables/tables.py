"""Tables of means over seeds straight from a frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from fedcrucible.comparison.tables.frame import combinations
from fedcrucible_core.config.values import Scalar, value_text
from fedcrucible_core.reports.pages.grid import MISSING, Grid, mean_interval
from fedcrucible_core.reports.statistics.spread import Spread, spread


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


def _label(value: Scalar) -> str:
    return value_text(value.item() if hasattr(value, "item") else value)
