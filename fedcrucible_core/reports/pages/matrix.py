"""Many runs on one page: heat maps, all numbers, what defences cost and buy, curves, detection, cost, tests."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from fedcrucible_core.records import files
from fedcrucible_core.records.reader import RecordedRun
from fedcrucible_core.records.schema import RATES
from fedcrucible_core.reports.charts.bands import bands_chart
from fedcrucible_core.reports.charts.detection_curves import roc_chart
from fedcrucible_core.reports.charts.tradeoff import sweep_chart, tradeoff_chart
from fedcrucible_core.reports.pages.heat import heats
from fedcrucible_core.reports.pages.matrix_words import verdict
from fedcrucible_core.reports.pages.page import MISSING, rate, write_page
from fedcrucible_core.reports.pages.parts import Part
from fedcrucible_core.reports.pages.synthetic_data import synthetic_strips
from fedcrucible_core.reports.statistics.from_records import SweptRow
from fedcrucible_core.reports.statistics.measures import MEASURES
from fedcrucible_core.reports.statistics.rows import Row
from fedcrucible_core.reports.statistics.spots import Spot, blocks_of, labels_of
from fedcrucible_core.reports.statistics.spread import Spread

SHOWN = (
    *(number.column for number in RATES.values() if number.tone), "asr_last_rounds", "tpr", "fpr", "seconds_total",
)  # fmt: skip
"""Columns of the table of all numbers."""
Settings = Sequence[tuple[str, Sequence[tuple[str, str, str]]]]


@dataclass(frozen=True)
class MatrixPage:
    """What the page shows."""

    title: str
    facts: str
    legend: str
    spots: Sequence[Spot]
    system_axis: str = "strategy"
    tables: Sequence[Part] = ()
    warnings: Sequence[str] = ()
    remarks: Sequence[str] = ()
    missing: Sequence[str] = ()
    """Cells without numbers, with the cause."""
    notes: Sequence[str] = ()
    """What a reader of single runs must know."""
    settings: Settings = ()
    """Groups of (key, value, reason)."""
    origin: Sequence[tuple[str, str]] = ()
    sweep: str = ""
    """Key that separates the runs, with a chart of its own."""
    swept: Sequence[SweptRow] = ()

    @cached_property
    def systems(self) -> list[str]:
        """Labels of all rows; each has one colour on the whole page."""
        return labels_of(self.spots)


def render_matrix(page: MatrixPage, out_path: Path) -> Path:
    """Write the page and return its path; it needs nothing but itself, links to the runs' own pages apart."""
    blocks = list(blocks_of(page.spots))
    base = out_path.resolve().parent
    return write_page(
        out_path,
        "matrix",
        title=page.title,
        page=page,
        verdict="" if page.sweep else verdict(page.spots),
        heats=[heats(block) for block in blocks],
        headings=[MEASURES[column].heading for column in SHOWN],
        numbers=[_numbers(row, spot, base) for spot in page.spots for row in spot.rows if row.runs],
        synthetic=synthetic_strips(page.spots),
        tradeoffs=[(block[0].block_title, tradeoff_chart(block, page.systems, f"tradeoff-{i}"))
                   for i, block in enumerate(blocks)],
        swept=sweep_chart(page.swept, page.sweep) if page.sweep else None,
        curves=[(spot.title, bands_chart(spot, page.systems, f"bands-{i}")) for i, spot in enumerate(page.spots)],
        rocs=[(block[0].block_title, roc_chart(block, page.systems, f"roc-{i}")) for i, block in enumerate(blocks)],
        runs=[_run(row, spot, run, base) for spot in page.spots for row in spot.rows for run in row.runs],
    )  # fmt: skip


def _numbers(row: Row, spot: Spot, base: Path) -> dict[str, object]:
    needs = {what for run in row.runs for kinds in run.run.knowledge.values() for what in kinds}
    return {
        "label": row.label,
        "place": _faced(spot, row.runs[0]),
        "weak": spot.weak,
        "badge": spot.badge(row),
        "cells": [_cell(row.spread_of(column), len(row.runs), MEASURES[column].unit) for column in SHOWN],
        "needs": "; ".join(sorted(needs)) or MISSING,
        "links": [{"seed": run.run.seed, "address": _address(run.folder, base)} for run in row.runs],
    }


def _run(row: Row, spot: Spot, run: RecordedRun, base: Path) -> dict[str, object]:
    return {
        "label": row.label,
        "place": _faced(spot, run),
        "seed": run.run.seed,
        "ma": rate(run.summary.ma_percent),
        "asr": rate(run.summary.asr_percent),
        "digest": run.summary.parameters_sha256[:12],
        "folder": run.folder.name,
        "notes": "; ".join(run.notes),
        "address": _address(run.folder, base),
    }


def _faced(spot: Spot, run: RecordedRun) -> str:
    return spot.title or run.run.attack


def _cell(value: Spread | None, runs: int, unit: str) -> dict[str, str]:
    if value is None:
        return {"mean": MISSING, "interval": ""}
    some = "" if value.count == runs else f" ({value.count} of {runs} runs)"
    if value.deviation is None or value.low is None or value.high is None:
        return {"mean": f"{value.mean:.1f}{some}", "interval": ""}
    high = min(100.0, value.high) if unit == "%" else value.high
    interval = f"{max(0.0, value.low):.1f} to {high:.1f}"
    return {"mean": f"{value.mean:.1f} ± {value.deviation:.1f}{some}", "interval": interval}


def _address(folder: Path, base: Path) -> str:
    report = folder / files.REPORT
    return quote(Path(os.path.relpath(report, base)).as_posix()) if report.is_file() else ""
