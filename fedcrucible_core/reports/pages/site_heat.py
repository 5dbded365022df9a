"""The site matrix on a run's page: a row per site, a column per round, as a table that is tinted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedcrucible_core.records.events import node_names
from fedcrucible_core.records.files import EVENTS
from fedcrucible_core.records.reader import RecordedRun
from fedcrucible_core.records.schema import RATES
from fedcrucible_core.records.site_matrix import MEANING, SiteMatrix, SiteRow, State, site_matrix
from fedcrucible_core.reports.pages.heat import DEEPEST, NARROWEST

MOST_SITES, MOST_ROUNDS = 60, 24
"""Rows and columns of a map: the sites worst off, rounds at even distances with the last one."""
MARKS: dict[State, str] = {"dropped": "dropped", "absent": "absent", "excluded": "excluded", "not-asked": ""}
"""What stands in a cell without a number."""
REFUSED = "refused"
"""What stands where the site lets nobody measure attack success on its data."""
NOTE = (
    "Each site measures the model on test data of its own and says what came of it; a hostile site may claim anything. "
    "No such number touches a model."
)


@dataclass(frozen=True)
class HeatMap:
    """One map as the template wants it."""

    title: str
    tone: str
    scale: str
    rows: Sequence[dict[str, object]]


@dataclass(frozen=True)
class SiteHeat:
    """Both maps, what their marks mean, and what they leave out."""

    columns: Sequence[str] = ()
    maps: Sequence[HeatMap] = ()
    legend: Sequence[tuple[str, str]] = ()
    """Mark and meaning of those that occur."""
    note: str = ""

    def __bool__(self) -> bool:
        return bool(self.maps)


def site_heat(record: RecordedRun) -> SiteHeat:
    """The maps of a run; nothing where no site was asked."""
    matrix = site_matrix(record.rounds, node_names(record.folder / EVENTS))
    if not matrix.rounds:
        return SiteHeat()
    rows = sorted(matrix.sites, key=lambda row: (_worth(row), row.site))[:MOST_SITES]
    places = _places(len(matrix.rounds))
    maps = [_ma_map(rows, places, record)]
    refused = any(row.asr_allowed is False for row in rows)
    if refused or any(value is not None for row in rows for value in row.asr_percent):
        maps.append(_asr_map(rows, places, record))
    found = {row.state[place] for row in rows for place in places}
    legend = [(mark, MEANING[state]) for state, mark in MARKS.items() if state in found and mark]
    if "not-asked" in found:
        legend.append(("empty", MEANING["not-asked"]))
    if refused:
        legend.append((REFUSED, "the site lets nobody measure attack success on its data (measure-asr)"))
    return SiteHeat(_columns(matrix, places), maps, legend, _note(matrix, len(rows), len(places)))


def _worth(row: SiteRow) -> float:
    """Sites that never measured come first: nobody knows what the model is worth to them."""
    return -1.0 if row.ma_last_percent is None else row.ma_last_percent


def _places(count: int) -> list[int]:
    step = -(-count // MOST_ROUNDS)
    return sorted({*range(count - 1, -1, -step)})


def _columns(matrix: SiteMatrix, places: Sequence[int]) -> list[str]:
    last = len(matrix.rounds) - 1
    return ["repaired" if matrix.repaired and place == last else str(matrix.rounds[place]) for place in places]


def _note(matrix: SiteMatrix, rows: int, columns: int) -> str:
    left = []
    if rows < len(matrix.sites):
        left.append(f"The {rows} sites worst off of {len(matrix.sites)}.")
    if columns < len(matrix.rounds):
        left.append(f"{columns} of {len(matrix.rounds)} rounds in which sites were asked.")
    if left:
        left.append("All of them are in sites.json.")
    return " ".join([NOTE, *left])


def _ma_map(rows: Sequence[SiteRow], places: Sequence[int], record: RecordedRun) -> HeatMap:
    known = [value for row in rows for value in row.ma_percent if value is not None]
    high = max(known, default=100.0)
    low = max(0.0, min([*known, high - NARROWEST]))
    found = [_row(row, [_cell(row, place, row.ma_percent[place], low, high) for place in places], record)
             for row in rows]  # fmt: skip
    return _map("ma_percent", f"tinted from {low:.1f} to {high:.1f}", found)


def _asr_map(rows: Sequence[SiteRow], places: Sequence[int], record: RecordedRun) -> HeatMap:
    found = [_row(row, [_asr_cell(row, place) for place in places], record) for row in rows]
    return _map("asr_percent", "tinted from 0 to 100", found)


def _asr_cell(row: SiteRow, place: int) -> dict[str, str]:
    if row.asr_percent[place] is None and row.state[place] == "measured":
        return _mark(REFUSED if row.asr_allowed is False else "", "refused")
    return _cell(row, place, row.asr_percent[place], 0.0, 100.0)


def _map(field: str, scale: str, rows: Sequence[dict[str, object]]) -> HeatMap:
    number = RATES[field]
    return HeatMap(f"{number.title} by site and round ({number.unit})", number.tone, scale, rows)


def _row(row: SiteRow, cells: Sequence[dict[str, str]], record: RecordedRun) -> dict[str, object]:
    return {
        "site": row.site,
        "name": row.name,
        "malicious": row.site in record.run.malicious,
        "examples": row.examples,
        "cells": cells,
    }


def _cell(row: SiteRow, place: int, value: float | None, low: float, high: float) -> dict[str, str]:
    state = row.state[place]
    if value is None:
        return _mark(MARKS.get(state, ""), state)
    share = min(1.0, max(0.0, (value - low) / (high - low) if high > low else 0.5))
    return {"text": f"{value:.1f}", "mix": f"{DEEPEST * share:.0f}%", "kind": ""}


def _mark(text: str, kind: str) -> dict[str, str]:
    return {"text": text, "mix": "0%", "kind": kind}
