"""Where the records of cells lie: which are finished, which failed, and what a new run writes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from config import ConfigError
from config.load import BEFORE, Scalar, load
from runner.compare.cell import Cell, value_text
from runner.failures import CommandError
from server_app.identity import digest
from server_app.record import files
from server_app.record.lock import FolderBusyError, only_writer

FAILURES = "failures.json"


class Store:
    """A folder of records.  A cell is finished when one of them has its identity and a summary, whatever its name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._finished = {key: path for path in self._records() if (key := _digest(path)) is not None}

    def finished(self, cell: Cell) -> Path | None:
        """The record of a cell that needs no run any more."""
        return self._finished.get(cell.digest)

    def add(self, cell: Cell) -> Path | None:
        """Take note of a record that has just been written; None where it isn't complete."""
        path = self.folder / cell.name
        if (path / files.SUMMARY).is_file():
            self._finished[cell.digest] = path
        return self.finished(cell)

    def settings(self, cell: Cell) -> dict[str, Scalar]:
        """A cell's settings with its place in this folder; what an interrupted run left there is removed.

        Raises CommandError when that run still goes.
        """
        target = self.folder / cell.name
        if target.is_dir() and not (target / files.SUMMARY).is_file():
            _clear_away(target)
        return {
            **cell.settings,
            "output.dir": str(self.folder),
            "output.name": cell.name,
            "output.report": False,
            "output.save_model": False,
        }

    def _records(self) -> list[Path]:
        return [path.parent for path in sorted(self.folder.glob(f"*/{files.SUMMARY}"))]


class Failures:
    """failures.json: every cell whose latest run failed, with its cause."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, dict[str, Any]] = {}
        if path.is_file():
            self.entries = {entry["cell"]: entry for entry in json.loads(path.read_bytes())}

    def add(self, cell: Cell, error: str, seconds: float) -> None:
        """Record a failure."""
        cause, _, details = error.partition("\n")
        self.entries[cell.name] = {
            "cell": cell.name,
            "labels": {name: value_text(value) for name, value in cell.labels.items()},
            "cause": cause,
            "details": details,
            "seconds": round(seconds, 1),
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self._write()

    def forget(self, cell: Cell) -> None:
        """The cell has succeeded since."""
        if self.entries.pop(cell.name, None) is not None:
            self._write()

    def cause(self, cell: Cell) -> str:
        """Why a cell's latest run failed; empty when it didn't."""
        return str(self.entries.get(cell.name, {}).get("cause", ""))

    def _write(self) -> None:
        if not self.entries:
            self.path.unlink(missing_ok=True)
            return
        text = json.dumps(list(self.entries.values()), indent=1, ensure_ascii=False)
        files.write_atomic(self.path, (text + "\n").encode())


def _clear_away(folder: Path) -> None:
    try:
        with only_writer(folder):
            shutil.rmtree(folder)
    except FolderBusyError:
        raise CommandError(f"another run is writing to {folder}", "wait for its end, or choose another --out") from None


def _digest(record: Path) -> str | None:
    try:
        values: Mapping[str, Scalar] = json.loads((record / files.CONFIG).read_bytes())["values"]
        return digest(load({**BEFORE, **values}))
    except (ConfigError, OSError, ValueError, KeyError):  # another version's keys, data that is gone, a damaged file
        return None
