"""A matrix of runs on one page: heat maps, curves, detection, cost, tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fedcrucible_core.records.reader import RecordedRun
from fedcrucible_core.reports.charts.matrix_charts import bands_chart, roc_chart
from fedcrucible_core.reports.pages.page import MISSING, write_page
from fedcrucible_core.reports.statistics.spread import Spread

NARROWEST = 5.0
"""Least span (points) of the tint of MA: differences that seeds make must not look like more."""
SIDE_BY_SIDE = 40
"""Two heat maps stand beside each other up to so many characters of columns."""
WEAK_BADGE, CELL = 11, 7
"""Characters that a column needs at least: for the badge of a weak attack, for a number with its interval."""
DEEPEST = 58.0
"""Largest share (percent) of the tone in a heat map's cell: text must stay readable on it."""


@dataclass(frozen=True)
class MatrixRow:
    """One system in one spot, with its runs in seed order."""

    system: str
    runs: tuple[RecordedRun, ...]
    ma: Spread | None
    asr: Spread | None
    best_ma: bool = False
    best_asr: bool = False
    paper: tuple[float, float] | None = None
    """MA and ASR that a paper prints."""
    flaw: str = ""
    """Why its numbers aren't compared with others'; empty where they are."""


@dataclass(frozen=True)
class MatrixSpot:
    """All systems that faced the same attack on the same data."""

    block: str
    """Title of the table it belongs to; empty where there is but one."""
    column: str
    rows: tuple[MatrixRow, ...]
    weak: bool | None = None

    @property
    def title(self) -> str:
        """Block and column."""
        return ", ".join(part for part in (self.block, self.column) if part)


@dataclass(frozen=True)
class MatrixTable:
    """A table that is printed as it is; the first ``keys`` columns say what a row is."""

    title: str
    note: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    keys: int

    @property
    def anchor(self) -> str:
        """Name of its section."""
        return "".join(char if char.isalnum() else "-" for char in self.title.lower())


@dataclass(frozen=True)
class MatrixPage:
    """What the page shows."""

    title: str
    facts: str
    legend: str
    spots: Sequence[MatrixSpot]
    system_axis: str = "strategy"
    tables: Sequence[MatrixTable] = ()
    warnings: Sequence[str] = ()
    remarks: Sequence[str] = ()
    missing: Sequence[str] = ()
    """Cells without numbers, with the cause."""
    findings: Sequence[str] = ()
    """What a reader of single runs must know."""
    settings: Sequence[tuple[str, Sequence[tuple[str, str, str]]]] = ()
    """Groups of (key, value, reason)."""
    origin: Sequence[tuple[str, str]] = ()
    systems: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        names = dict.fromkeys(row.system for spot in self.spots for row in spot.rows)
        object.__setattr__(self, "systems", tuple(names))


def render_matrix(page: MatrixPage, out_path: Path) -> Path:
    """Write the page and return its path; it needs nothing but itself."""
    return write_page(
        out_path,
        "matrix",
        title=page.title,
        page=page,
        heats=[_heats(page, block) for block in _blocks(page)],
        curves=[(spot.title, bands_chart(spot, page.systems, f"bands-{i}")) for i, spot in enumerate(page.spots)],
        rocs=[(block[0].block, roc_chart(block, page.systems, f"roc-{i}")) for i, block in enumerate(_blocks(page))],
    )


def _blocks(page: MatrixPage) -> Iterator[list[MatrixSpot]]:
    found: dict[str, list[MatrixSpot]] = {}
    for spot in page.spots:
        found.setdefault(spot.block, []).append(spot)
    yield from found.values()


def _heats(page: MatrixPage, block: Sequence[MatrixSpot]) -> dict[str, object]:
    known = [row.ma.mean for spot in block for row in spot.rows if row.ma is not None and not row.flaw]
    high = max(known, default=100.0)
    low = max(0.0, min([*known, high - NARROWEST]))
    return {
        "title": block[0].block,
        "wide": sum(_width(spot) for spot in block) > SIDE_BY_SIDE,
        "columns": [{"name": spot.column or "all", "weak": spot.weak} for spot in block],
        "maps": [
            {
                "name": "MA: clean accuracy (%)",
                "tone": "blue",
                "scale": f"tinted from {low:.1f} to {high:.1f}",
                "rows": [
                    (system, [_ma_cell(spot, system, low, high) for spot in block]) for system in _systems(page, block)
                ],
            },
            {
                "name": "ASR: attack success (%)",
                "tone": "vermillion",
                "scale": "tinted from 0 to 100",
                "rows": [(system, [_asr_cell(spot, system) for spot in block]) for system in _systems(page, block)],
            },
        ],
    }


def _width(spot: MatrixSpot) -> int:
    """Characters that a column needs."""
    return max(len(spot.column), WEAK_BADGE if spot.weak else CELL, *(len(row.flaw) for row in spot.rows))


def _systems(page: MatrixPage, block: Sequence[MatrixSpot]) -> list[str]:
    here = {row.system for spot in block for row in spot.rows}
    return [system for system in page.systems if system in here]


def _row(spot: MatrixSpot, system: str) -> MatrixRow | None:
    return next((row for row in spot.rows if row.system == system), None)


def _ma_cell(spot: MatrixSpot, system: str, low: float, high: float) -> dict[str, object]:
    row = _row(spot, system)
    if row is None or row.ma is None:
        return _empty(row)
    share = (row.ma.mean - low) / (high - low) if high > low else 0.5
    return _cell(row.ma, share, row.best_ma, None if row.paper is None else row.paper[0]) | {"flaw": row.flaw}


def _asr_cell(spot: MatrixSpot, system: str) -> dict[str, object]:
    row = _row(spot, system)
    if row is None or row.asr is None:
        return _empty(row)
    paper = None if row.paper is None else row.paper[1]
    return _cell(row.asr, row.asr.mean / 100.0, row.best_asr, paper) | {"flaw": row.flaw}


def _cell(found: Spread, share: float, best: bool, paper: float | None) -> dict[str, object]:
    half = "" if found.high is None else f"± {found.high - found.mean:.1f}"
    return {
        "text": f"{found.mean:.1f}",
        "half": half,
        "mix": f"{DEEPEST * min(1.0, max(0.0, share)):.0f}%",
        "best": best,
        "paper": "" if paper is None else f"{paper:.1f}",
    }


def _empty(row: MatrixRow | None) -> dict[str, object]:
    return {
        "text": "no run" if row is not None and not row.runs else MISSING,
        "half": "",
        "mix": "0%",
        "best": False,
        "paper": "",
        "flaw": "",
    }
