"""The numbers of all cells as one table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from fedcrucible.comparison.execution.run import Results
from fedcrucible.comparison.plan.cell import Cell
from fedcrucible.comparison.tables.matrix_spots import labels_of, recorded
from fedcrucible_core.config.values import Scalar, value_text
from fedcrucible_core.records.findings import attack_rounds
from fedcrucible_core.records.reader import RecordedRun
from fedcrucible_core.reports.statistics.measures import MEASURES, measured
from fedcrucible_core.reports.statistics.rows import is_undefended


def results_frame(cells: Sequence[Cell], results: Results) -> pd.DataFrame:
    """One row per cell: labels, measured numbers (names carry their unit), and where they come from.

    Cells without a record have a row with the cause in ``error``.
    """
    rows: list[dict[str, object]] = []
    for cell in cells:
        folder = results.records.get(cell.key)
        row: dict[str, object] = dict(labels_of(cell))
        if folder is not None:
            row |= numbers(recorded(folder))
            row |= _origin(recorded(folder))
        row |= {"engine": cell.engine, "config_hash": cell.digest, "error": results.causes.get(cell.key, "")}
        rows.append(row)
    frame = pd.DataFrame(rows)
    for name in {name for cell in cells for name in cell.labels}:
        kinds = set(frame[name].map(type))
        if str in kinds and len(kinds) > 1:  # Parquet knows no column of mixed types
            frame[name] = frame[name].map(value_text)
    return frame


def numbers(run: RecordedRun) -> Mapping[str, Scalar | None]:
    """What was measured: rates in percent of the last evaluation unless the name says otherwise."""
    summary = run.summary
    return {
        **{column: measured(run, column) for column in MEASURES},
        "last_rounds": summary.last_rounds,
        "rounds": summary.rounds,
        "attackers": len(run.run.malicious),
        "undefended": is_undefended(run),
        "attack_rounds": attack_rounds(run.rounds),
        "rounds_changed": summary.rounds_changed,
        "state": summary.state,
        "notes": "; ".join(run.notes),
    }


def _origin(run: RecordedRun) -> Mapping[str, Scalar | None]:
    found = run.environment
    return {
        "parameters_sha256": run.summary.parameters_sha256,
        "record": str(run.folder),
        "commit": (found.git_commit or "") if found else "",
        "source_sha256": found.source_sha256 if found else "",
        "data_sha256": run.run.data_sha256,
        "packages": " ".join(f"{name}=={version}" for name, version in found.packages.items()) if found else "",
        "device": " ".join(part for part in (found.device, found.device_name) if part) if found else "",
        "started_utc": found.started_utc if found else "",
    }


def combinations(frame: pd.DataFrame, names: Sequence[str]) -> Iterable[tuple[tuple[Any, ...], pd.DataFrame]]:
    """The rows of each combination of values that occurs, as Python's own values, in the order of first appearance."""
    if not names:
        yield (), frame
        return
    for key, part in frame.groupby(list(names), sort=False, dropna=False):
        parts = key if isinstance(key, tuple) else (key,)
        yield tuple(value.item() if hasattr(value, "item") else value for value in parts), part
