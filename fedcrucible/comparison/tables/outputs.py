"""Writes everything that a matrix leaves: numbers, tables, page, manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from fedcrucible.comparison.tables.document import document, missing, packages, remarks, setting_groups, warnings
from fedcrucible.comparison.tables.latex import latex
from fedcrucible.comparison.tables.matrix_spots import as_object
from fedcrucible.comparison.tables.outcome import Outcome
from fedcrucible_core.config.atomic_file import write_atomic
from fedcrucible_core.config.load import flatten
from fedcrucible_core.records.files import REPORT
from fedcrucible_core.reports.pages.matrix import MatrixPage, render_matrix
from fedcrucible_core.reports.pages.matrix_words import legend
from fedcrucible_core.reports.statistics.spots import notes_by_place

CSV, PARQUET, MARKDOWN, LATEX, MANIFEST = (
    "results.csv", "results.parquet", "results.md", "results.tex", "manifest.json",
)  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r")
FILES = (CSV, PARQUET, MARKDOWN, LATEX, REPORT, MANIFEST)


def write_outputs(outcome: Outcome, folder: Path) -> None:
    """Write all files into ``folder``; each is replaced in one step."""
    write_atomic(folder / CSV, _for_spreadsheets(outcome.frame).to_csv(index=False).encode())
    write_atomic(folder / PARQUET, outcome.frame.to_parquet(engine="pyarrow", index=False))
    write_atomic(folder / MARKDOWN, document(outcome).encode())
    write_atomic(folder / LATEX, latex(outcome).encode())
    write_atomic(folder / MANIFEST, (json.dumps(manifest(outcome), indent=1, ensure_ascii=False) + "\n").encode())
    render_matrix(page(outcome), folder / REPORT)


def _for_spreadsheets(frame: pd.DataFrame) -> pd.DataFrame:
    """Texts that a spreadsheet would take for a formula begin with an apostrophe."""
    texts = frame.select_dtypes(exclude="number").columns
    return frame.assign(**{name: frame[name].map(_no_formula) for name in texts})


def _no_formula(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def manifest(outcome: Outcome) -> dict[str, Any]:
    """What was run, with what, and all settings: those that cells share once, the others beside each cell."""
    values = [
        {key: v for key, v in flatten(cell.config).items() if not key.startswith("output.")} for cell in outcome.cells
    ]
    shared = {key: v for key, v in values[0].items() if all(own[key] == v for own in values)} if values else {}
    return {
        "title": outcome.matrix.title,
        "command": outcome.command,
        "engine": outcome.engine,
        "jobs": outcome.jobs,
        "axes": dict(outcome.axes_text()),
        "seeds": list(outcome.matrix.seeds),
        "layout": {
            "system": outcome.matrix.system_axis,
            "column": outcome.matrix.column_axis,
            "blocks": list(outcome.matrix.block_axes),
        },
        "reference": outcome.reference,
        "margin_points": outcome.matrix.margin,
        "environment": outcome.environment.model_dump(),
        "impossible": [{"cause": one.cause, "cells": [cell.title for cell in one.cells]} for one in outcome.impossible],
        "failed": [{"cell": cell.title, "cause": cause} for cell, cause in outcome.failed],
        "rows": [row for spot in outcome.spots for row in as_object(spot, outcome.tests)],
        "settings": shared,
        "cells": [
            {
                "labels": dict(cell.labels),
                "config_hash": cell.digest,
                "engine": cell.engine,
                "record": str(outcome.results.records.get(cell.key, "")),
                "settings": {key: value for key, value in own.items() if key not in shared},
            }
            for cell, own in zip(outcome.cells, values, strict=True)
        ],
    }


def as_json(outcome: Outcome, folder: Path) -> dict[str, Any]:
    """The result for machines; rates in percent."""
    return {
        "title": outcome.matrix.title,
        "unit": "percent",
        "rows": [row for spot in outcome.spots for row in as_object(spot, outcome.tests)],
        "cells": len(outcome.cells),
        "runs": len({cell.digest for cell in outcome.cells}),
        "ran": outcome.results.ran,
        "failed": [{"cell": cell.title, "cause": cause} for cell, cause in outcome.failed],
        "impossible": [{"cause": one.cause, "cells": [cell.title for cell in one.cells]} for one in outcome.impossible],
        "folder": str(folder),
        "files": {name: str(folder / name) for name in FILES},
        "seconds": round(outcome.seconds, 1),
    }


def page(outcome: Outcome) -> MatrixPage:
    """The page's content."""
    found = outcome.environment
    commit = (found.git_commit or "no checkout") + (" with local changes" if found.git_dirty else "")
    return MatrixPage(
        title=outcome.matrix.title,
        facts=_facts(outcome),
        legend=legend(outcome.spots, outcome.usual_seeds) + " Best values are framed.",
        spots=outcome.spots,
        system_axis=outcome.matrix.system_axis,
        tables=outcome.parts,
        warnings=warnings(outcome),
        remarks=remarks(outcome),
        notes=notes_by_place(outcome.spots),
        missing=missing(outcome),
        settings=setting_groups(outcome),
        origin=(
            ("command", outcome.command),
            ("made", found.started_utc),
            ("commit", commit),
            ("source digest", found.source_sha256[:16]),
            ("engine", f"{outcome.engine}, {outcome.jobs} at a time"),
            ("processor", f"{found.processor}, {found.cpu_count} logical CPUs"),
            ("packages", packages(outcome)),
        ),
    )


def _facts(outcome: Outcome) -> str:
    runs = len(outcome.results.records)
    datasets = list(dict.fromkeys(cell.config.task.dataset for cell in outcome.cells))
    axes = [f"{len(axis.points)} x {axis.name}" for axis in outcome.matrix.varied]
    return " · ".join([*datasets, *axes, f"seeds {', '.join(map(str, outcome.matrix.seeds))}", f"{runs} runs"])
