"""Several runs on one page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from fedcrucible_core.records import files
from fedcrucible_core.records.reader import RecordedRun, read
from fedcrucible_core.reports.charts.comparison_charts import curves_chart, sweep_chart, tradeoff_chart
from fedcrucible_core.reports.pages.comparison_words import subtitle, table_note, verdict, warnings
from fedcrucible_core.reports.pages.page import MISSING, duration, rate, write_page
from fedcrucible_core.reports.statistics.comparison_groups import Group, grouped, spots_of
from fedcrucible_core.reports.statistics.spread import Spread
from fedcrucible_core.reports.statistics.standing import Standing, standing

SHOWN = ("ma_percent", "asr_percent", "base_rate_percent", "asr_last_mean_percent")
"""Columns of the table, before TPR and FPR."""


@dataclass(frozen=True)
class ComparisonRow:
    """A record folder, and what to call its strategy (empty = its registered name)."""

    folder: Path
    label: str = ""


def render_comparison(rows: Sequence[ComparisonRow], title: str, out_path: Path, *, sweep: str = "") -> Path:
    """Write one page over several records and return its path.

    Runs with the same label, attack and settings are seeds of one cell: mean, standard deviation and Student-t 95 %
    interval; of several runs with one seed the first counts. Cells are judged (``standing``) among those that share
    all settings but the defence's: an attack is weak there where plain FedAvg ends below 50 % ASR. ``sweep`` is a
    configuration key (e.g. ``adversary.malicious_fraction``) that gets its own chart.
    Raises ValueError for no rows, FileNotFoundError when a folder holds no record.
    """
    if not rows:
        raise ValueError("a comparison needs at least one record folder")
    out_path = out_path.resolve()
    labelled = [(row.label, read(row.folder, arrays=False)) for row in rows]
    groups, repeated = grouped(labelled, sweep)
    attacks = sorted({group.attack for group in groups})
    spots = spots_of(groups)
    judged = {id(group): standing(spot) for spot in spots for group in spot}
    return write_page(
        out_path,
        "comparison",
        title=title,
        subtitle=subtitle(labelled, attacks),
        verdict="" if sweep else verdict(spots),
        warnings=warnings(groups, spots, repeated),
        table_note=table_note(groups),
        sweep=sweep,
        groups=[_table_row(group, out_path.parent, judged[id(group)]) for group in groups],
        tradeoff=tradeoff_chart(groups),
        swept=sweep_chart(groups, sweep) if sweep else None,
        curves=curves_chart(groups),
        runs=[_run_row(group, run, out_path.parent) for group in groups for run in group.runs],
    )


def _table_row(group: Group, base: Path, judged: Standing) -> dict[str, object]:
    seconds = group.spread_of("seconds_total")
    needs = {what for run in group.runs for kinds in run.run.knowledge.values() for what in kinds}
    return {
        "label": group.label,
        "attack": group.attack,
        "weak": judged.weak,
        "flaw": judged.badge(group),
        "sweep_value": group.sweep_value,
        "cells": [
            *[_cell(group.spread_of(name), len(group.runs)) for name in SHOWN],
            _cell(group.detection_of("tpr_percent"), len(group.runs)),
            _cell(group.detection_of("fpr_percent"), len(group.runs)),
        ],
        "seconds": MISSING if seconds is None else duration(seconds.mean),
        "needs": "; ".join(sorted(needs)) or MISSING,
        "links": [{"seed": run.run.seed, "address": _address(run.folder, base)} for run in group.runs],
    }


def _run_row(group: Group, run: RecordedRun, base: Path) -> dict[str, object]:
    return {
        "label": group.title,
        "attack": group.attack,
        "seed": run.run.seed,
        "ma": rate(run.summary.ma_percent),
        "asr": rate(run.summary.asr_percent),
        "digest": run.summary.parameters_sha256[:12],
        "folder": run.folder.name,
        "notes": "; ".join(run.notes),
        "address": _address(run.folder, base),
    }


def _cell(value: Spread | None, runs: int) -> dict[str, str]:
    if value is None:
        return {"mean": MISSING, "interval": ""}
    some = "" if value.count == runs else f" ({value.count} of {runs} runs)"
    if value.deviation is None or value.low is None or value.high is None:
        return {"mean": f"{value.mean:.1f}{some}", "interval": ""}
    interval = f"{max(0.0, value.low):.1f} to {min(100.0, value.high):.1f}"
    return {"mean": f"{value.mean:.1f} ± {value.deviation:.1f}{some}", "interval": interval}


def _address(folder: Path, base: Path) -> str:
    report = folder / files.REPORT
    return quote(Path(os.path.relpath(report, base)).as_posix()) if report.is_file() else ""
