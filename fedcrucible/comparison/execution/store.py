"""Where the records of cells lie: which are finished, which failed, and what a new run writes."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedcrucible.comparison.plan.cell import Cell
from fedcrucible.failures import CommandError
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.atomic_file import write_atomic
from fedcrucible_core.config.load import BEFORE, load
from fedcrucible_core.config.values import Scalar, value_text
from fedcrucible_core.records import files
from fedcrucible_core.records.lock import FolderBusyError, only_writer
from fedcrucible_core.records.reader import DamagedRecordError, read, read_settings
from server_app.identity import digest

FAILURES = "failures.json"


class Store:
    """A folder of records.  A cell is finished when a whole one has its identity and a summary, whatever its name."""

    def __init__(self, folder: Path, whole: bool = False) -> None:
        self.folder = folder.resolve()
        self.whole = whole
        """Whether a new record keeps its model."""
        self._damaged: dict[Path, str] = {}
        self._finished = {key: path for path in self._records() if (key := self._digest(path)) is not None}

    def finished(self, cell: Cell) -> Path | None:
        """The record of a cell that needs no run any more."""
        path = self._finished.get(cell.digest)
        if path is None:
            return None
        try:
            read(path, arrays=False)
        except (DamagedRecordError, FileNotFoundError) as error:
            self._damaged[path] = str(error)
            del self._finished[cell.digest]
            return None
        return path

    def damage(self, cell: Cell) -> str:
        """Why the record that a cell has doesn't count; empty where it has none."""
        return self._damaged.get(self.folder / cell.name, "")

    def add(self, cell: Cell) -> Path | None:
        """Take note of a record that has just been written; None where it isn't complete."""
        path = self.folder / cell.name
        if (path / files.SUMMARY).is_file():
            self._finished[cell.digest] = path
            self._damaged.pop(path, None)
        return self.finished(cell)

    def settings(self, cell: Cell) -> dict[str, Scalar]:
        """A cell's settings with its place in this folder; what an interrupted run left there, or damage, is removed.

        Raises CommandError when that run still goes.
        """
        target = self.folder / cell.name
        if target.is_dir() and (target in self._damaged or not (target / files.SUMMARY).is_file()):
            _clear_away(target)
        return {
            **cell.settings,
            "output.dir": str(self.folder),
            "output.name": cell.name,
            "output.report": False,
            "output.save_model": self.whole,
        }

    def _records(self) -> list[Path]:
        return [path.parent for path in sorted(self.folder.glob(f"*/{files.SUMMARY}")) if path.is_file()]

    def _digest(self, record: Path) -> str | None:
        try:
            values = read_settings(record)["values"]
            return digest(load({**BEFORE, **values}))
        except (DamagedRecordError, KeyError) as error:
            self._damaged[record] = str(error) if isinstance(error, DamagedRecordError) else "its settings are missing"
            return None
        except (ConfigError, OSError, ValueError):  # another version's keys, data that is gone
            return None


class Failures:
    """failures.json: every cell whose latest run failed, with its cause."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, dict[str, Any]] = {}
        if path.is_file():
            with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):  # damaged: they are tried again
                self.entries = {str(entry["cell"]): dict(entry) for entry in json.loads(path.read_bytes())}

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
        write_atomic(self.path, (text + "\n").encode())


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold a matrix' folder: a second one would clear away what the first is writing.

    Released by the system however this process ends.  Raises CommandError when it is held.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(only_writer(folder))
        except FolderBusyError:
            raise CommandError(
                f"another comparison is writing to {folder}", "wait for it, or choose another --out"
            ) from None
        yield


def _clear_away(folder: Path) -> None:
    try:
        with only_writer(folder):
            shutil.rmtree(folder)
    except FolderBusyError:
        raise CommandError(f"another run is writing to {folder}", "wait for its end, or choose another --out") from None
