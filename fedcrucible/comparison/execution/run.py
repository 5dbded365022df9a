"""Runs the cells that aren't finished."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fedcrucible.comparison.execution.engines import Engine
from fedcrucible.comparison.execution.store import Failures, Store
from fedcrucible.comparison.plan.cell import Cell
from fedcrucible.engines.batch import Finished, RoundNews, Watch


class Display(Protocol):
    """Is told how the matrix goes on."""

    def begin(self, todo: Sequence[Cell], finished: Sequence[tuple[Cell, float]], workers: int) -> None:
        """Which runs there will be, and which were finished before, with their seconds."""

    def started(self, cell: Cell) -> None:
        """A cell has started."""

    def news(self, cell: Cell, news: RoundNews) -> None:
        """A round of a cell has ended."""

    def ended(self, cell: Cell, how: Finished) -> None:
        """A cell has ended, well or not."""


@dataclass
class Results:
    """What is known of each cell."""

    records: dict[str, Path] = field(default_factory=dict)
    """Digest of a cell -> folder of its record."""
    causes: dict[str, str] = field(default_factory=dict)
    """Digest of a cell -> why it has no record: its failure, or that it wasn't run."""
    ran: int = 0
    """Runs that were made now, whether they ended well or not."""
    failed: int = 0
    """Those of them that failed."""

    @property
    def runs(self) -> int:
        """All runs of the matrix: with a record, or without one."""
        return len(self.records.keys() | self.causes.keys())


def distinct(cells: Sequence[Cell]) -> list[Cell]:
    """The cells that differ by more than their labels, first comers first."""
    first: dict[str, Cell] = {}
    for cell in cells:
        first.setdefault(cell.digest, cell)
    return list(first.values())


def run_cells(
    cells: Sequence[Cell], store: Store, failures: Failures, engine: Engine | None, display: Display
) -> Results:
    """Run what isn't finished and collect all records; without an engine nothing is run.

    A cell that fails is written to ``failures`` and stops no other; it is run again next time.
    """
    results = Results()
    finished: list[tuple[Cell, float]] = []
    todo: list[Cell] = []
    for cell in distinct(cells):
        record = store.finished(cell)
        if record is None:
            todo.append(cell)
            results.causes[cell.digest] = failures.cause(cell) or store.damage(cell) or "not run yet"
        else:
            results.records[cell.digest] = record
            finished.append((cell, _seconds(record)))
    if engine is not None and todo:
        display.begin(todo, finished, engine.workers)
        batch = [store.settings(cell) for cell in todo]
        with contextlib.closing(engine.run(batch, _Relay(todo, display))) as ends:  # type: ignore[type-var]
            for how in ends:
                _note(todo[how.index], how, store, failures, results)
                display.ended(todo[how.index], how)
    return results


def _note(cell: Cell, how: Finished, store: Store, failures: Failures, results: Results) -> None:
    results.ran += 1
    record = store.add(cell)
    if how.summary is None or record is None:
        error = how.error or "it ended without a summary"
        failures.add(cell, error, how.seconds)
        results.causes[cell.digest] = error.partition("\n")[0]
        results.failed += 1
        return
    failures.forget(cell)
    results.causes.pop(cell.digest, None)
    results.records[cell.digest] = record


@dataclass
class _Relay(Watch):
    cells: Sequence[Cell]
    display: Display

    def started(self, index: int) -> None:
        self.display.started(self.cells[index])

    def news(self, index: int, news: RoundNews) -> None:
        self.display.news(self.cells[index], news)


def _seconds(record: Path) -> float:
    from fedcrucible_core.records import files
    from fedcrucible_core.records.schema import RunSummary

    return RunSummary.model_validate_json((record / files.SUMMARY).read_bytes()).seconds_total
