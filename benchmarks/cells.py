"""Runs a list of configurations on worker processes, skips those that are finished, and tabulates means over seeds."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from config.load import Scalar, flatten, load
from runner.batch import run_batch
from server_app.record.schema import RunSummary
from server_app.report import ComparisonRow
from server_app.report.spread import spread


@dataclass(frozen=True)
class Cell:
    """One run: labels that become table columns, and its settings."""

    labels: Mapping[str, Scalar]
    settings: Mapping[str, Scalar]

    @property
    def name(self) -> str:
        """Folder name of the record: readable labels, and a hash of all settings so that a changed cell runs anew."""
        resolved = {key: value for key, value in flatten(load(self.settings)).items() if not key.startswith("output.")}
        digest = hashlib.sha256(json.dumps(resolved, sort_keys=True).encode()).hexdigest()[:8]
        words = "-".join([*(str(value) for value in self.labels.values()), digest])
        return re.sub(r"[^\w.+-]+", "_", words)


def run_cells(cells: Sequence[Cell], folder: Path, jobs: int) -> pd.DataFrame:
    """Run what isn't finished yet; one row per cell with its labels and measured numbers (percent, seconds).

    With ``jobs`` 0 nothing is run: only what is finished is tabulated.
    """
    folder.mkdir(parents=True, exist_ok=True)
    todo = [cell for cell in cells if jobs and _finished(folder, cell) is None]
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("runs", total=len(cells), completed=len(cells) - len(todo) if jobs else 0)
        batch = [_settings(cell, folder) for cell in todo]
        for done in run_batch(batch, jobs):
            cell = todo[done.index]
            if done.summary is None:
                console.print(f"failed: {cell.name}: {done.error}", markup=False)
            else:
                ma, asr = done.summary.ma_percent, done.summary.asr_percent
                progress.console.print(f"{cell.name}: MA {ma:.2f} % ASR {asr or 0:.2f} % ({done.seconds:.0f} s)")
            progress.advance(task)
    rows = [{**cell.labels, **_numbers(found)} for cell in cells if (found := _finished(folder, cell)) is not None]
    return pd.DataFrame(rows)


def _settings(cell: Cell, folder: Path) -> dict[str, Scalar]:
    output: dict[str, Scalar] = {
        "output.dir": str(folder.resolve()),
        "output.name": cell.name,
        "output.report": False,
        "output.save_model": False,
    }
    target = folder / cell.name
    if target.is_dir():  # cut short earlier: its rounds are incomplete
        for path in sorted(target.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    return {**cell.settings, **output}


def _finished(folder: Path, cell: Cell) -> RunSummary | None:
    path = folder / cell.name / "summary.json"
    return RunSummary.model_validate_json(path.read_bytes()) if path.is_file() else None


def _numbers(summary: RunSummary) -> dict[str, float | None]:
    found = summary.detection
    return {
        "ma": summary.ma_percent,
        "asr": summary.asr_percent,
        "base": summary.base_rate_percent,
        "asr_max": summary.asr_max_percent,
        "tpr": found.tpr_percent if found else None,
        "fpr": found.fpr_percent if found else None,
        "seconds": summary.seconds_total,
    }


def mean_interval(values: Sequence[float]) -> str:
    """``mean ± half-width`` of Student's 95 % interval over seeds, with their number unless it is three."""
    found = spread(values)
    assert found is not None
    if found.high is None:
        return f"{found.mean:.2f} (1 seed)"
    seeds = "" if found.count == 3 else f" ({found.count} seeds)"
    return f"{found.mean:.2f} ± {found.high - found.mean:.2f}{seeds}"


def comparison_rows(cells: Sequence[Cell], folder: Path, label: str) -> list[ComparisonRow]:
    """Rows of a comparison page for the cells that are finished, called by their ``label``."""
    done = [cell for cell in cells if _finished(folder, cell) is not None]
    return [ComparisonRow(folder / cell.name, str(cell.labels[label])) for cell in done]


def table(frame: pd.DataFrame, rows: Sequence[str], column: str | None, values: Sequence[str]) -> str:
    """Markdown table of means with intervals: a row per combination of ``rows``, ``a / b`` of ``values`` per cell."""
    keys = [frame[name].drop_duplicates().tolist() for name in rows]
    heads = frame[column].drop_duplicates().tolist() if column else [" / ".join(values)]
    lines = ["| " + " | ".join([*rows, *(str(h) for h in heads)]) + " |"]
    lines.append("|" + " --- |" * (len(rows) + len(heads)))
    combinations = pd.MultiIndex.from_product(keys) if len(rows) > 1 else [(key,) for key in keys[0]]
    for combination in combinations:
        chosen = frame
        for name, key in zip(rows, combination, strict=True):
            chosen = chosen[chosen[name] == key]
        if chosen.empty:
            continue
        cells = []
        for head in heads:
            part = chosen[chosen[column] == head] if column else chosen
            cells.append(
                " / ".join(mean_interval(part[v].dropna().tolist()) if part[v].notna().any() else "-" for v in values)
            )
        lines.append("| " + " | ".join([*(str(k) for k in combination), *cells]) + " |")
    return "\n".join(lines)
