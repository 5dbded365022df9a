"""The numbers of all cells as one table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from fedcrucible.comparison.execution.run import Results
from fedcrucible.comparison.plan.cell import SEED, Cell, value_text
from fedcrucible.comparison.plan.matrix import AXIS_OF_KEY
from fedcrucible_core.config.load import flatten
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records.findings import attack_rounds
from fedcrucible_core.records.reader import RecordedRun, read
from fedcrucible_core.reports.statistics.cells import detection_of, is_undefended
from fedcrucible_core.reports.statistics.roc import roc

MB = 1e6
SERVER_PHASES = ("sample", "validate", "aggregate", "server")


def recorded(folder: Path) -> RecordedRun:
    """A record without its images; read once however many cells and tables ask."""
    return _read(folder)


@lru_cache(maxsize=4096)
def _read(folder: Path) -> RecordedRun:
    return read(folder, arrays=False)


def results_frame(cells: Sequence[Cell], results: Results) -> pd.DataFrame:
    """One row per cell: labels, measured numbers (names carry their unit), and where they come from.

    Cells without a record have a row with the cause in ``error``.
    """
    rows: list[dict[str, object]] = []
    for cell in cells:
        folder = results.records.get(cell.digest)
        row: dict[str, object] = {name: value for name, value in cell.labels.items() if name != SEED}
        row |= {axis: value for axis, value in _fixed(cell).items() if axis not in row}
        if folder is not None:
            row |= numbers(recorded(folder))
            row |= _origin(recorded(folder))
        row |= {"config_hash": cell.digest, "error": results.causes.get(cell.digest, "")}
        rows.append(row)
    frame = pd.DataFrame(rows)
    for name in {name for cell in cells for name in cell.labels}:
        kinds = set(frame[name].map(type))
        if str in kinds and len(kinds) > 1:  # Parquet knows no column of mixed types
            frame[name] = frame[name].map(value_text)
    return frame


def _fixed(cell: Cell) -> dict[str, object]:
    """What every table can be sorted by, also where the matrix has no such axis."""
    values = flatten(cell.config)
    return {axis: values[key] for key, axis in AXIS_OF_KEY.items()}


def numbers(run: RecordedRun) -> Mapping[str, Scalar | None]:
    """What was measured: rates in percent of the last evaluation unless the name says otherwise."""
    found, caught = run.summary, detection_of(run)
    rounds = max(1, found.rounds)
    scores = roc(run.rounds)
    return {
        "ma": found.ma_percent,
        "asr": found.asr_percent,
        "base_rate": found.base_rate_percent,
        "net_asr_points": found.net_asr_percent,
        "robust_accuracy": found.robust_accuracy_percent,
        "ma_last_rounds": found.ma_last_mean_percent,
        "asr_last_rounds": found.asr_last_mean_percent,
        "last_rounds": found.last_rounds,
        "asr_max": found.asr_max_percent,
        "rounds_asr_above_20": None if found.asr_percent is None else found.rounds_asr_above_20_percent,
        "asr_after_stop": found.asr_after_stop_mean_percent,
        "tpr": caught.tpr_percent if caught else None,
        "fpr": caught.fpr_percent if caught else None,
        "auroc": scores.auroc if scores else None,
        "attacker_weight": found.malicious_weight_percent,
        "seconds_total": found.seconds_total,
        "server_seconds_per_round": sum(found.seconds.get(phase, 0.0) for phase in SERVER_PHASES) / rounds,
        "client_seconds_per_round": found.seconds.get("train", 0.0) / rounds,
        "peak_memory_mb": found.peak_memory_mb,
        "mb_down": found.bytes_down / MB,
        "mb_up": found.bytes_up / MB,
        "rounds": found.rounds,
        "attackers": len(run.run.malicious),
        "undefended": is_undefended(run),
        "attack_rounds": attack_rounds(run.rounds),
        "rounds_changed": found.rounds_changed,
        "state": found.state,
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
