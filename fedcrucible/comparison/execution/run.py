"""Runs the cells that aren't finished."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fedcrucible.comparison.execution.engines import Engine, InProcess
from fedcrucible.comparison.execution.pages import Pages
from fedcrucible.comparison.execution.store import Failures, Store
from fedcrucible.comparison.plan.cell import IN_PROCESS, Cell
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
    """Key of a cell -> folder of its record."""
    causes: dict[str, str] = field(default_factory=dict)
    """Key of a cell -> why it has no record: its failure, or that it wasn't run."""
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
        first.setdefault(cell.key, cell)
    return list(first.values())


def run_cells(
    cells: Sequence[Cell],
    stores: Mapping[str, Store],
    failures: Failures,
    engines: Mapping[str, Engine],
    display: Display,
    pages: Pages | None = None,
) -> Results:
    """Run what isn't finished and collect all records; without engines nothing is run.

    ``stores`` and ``engines`` are by the engine's name.  A cell that fails is written to ``failures`` and stops no
    other; it is run again next time.  ``pages`` draws the page of every new record.
    """
    results = Results()
    finished: list[tuple[Cell, float]] = []
    todo: list[Cell] = []
    for cell in distinct(cells):
        store = stores[cell.engine]
        record = store.finished(cell)
        if record is None:
            todo.append(cell)
            results.causes[cell.key] = failures.cause(cell) or store.damage(cell) or "not run yet"
        else:
            results.records[cell.key] = record
            finished.append((cell, _seconds(record)))
    if engines and todo:
        display.begin(todo, finished, sum(engine.workers for engine in engines.values()))
        _Running(stores, failures, results, display, pages).run(todo, engines)
    return results


@dataclass
class _Running:
    """Cells that are being run, those of each engine at the same time as the others'."""

    stores: Mapping[str, Store]
    failures: Failures
    results: Results
    display: Display
    pages: Pages | None
    lock: threading.RLock = field(default_factory=threading.RLock)
    problems: list[BaseException] = field(default_factory=list)

    def run(self, todo: Sequence[Cell], engines: Mapping[str, Engine]) -> None:
        """Run all; Flower keeps this thread, for Ctrl-C reaches no other."""
        of_engine = {name: [cell for cell in todo if cell.engine == name] for name in engines}
        used = [name for name, cells in of_engine.items() if cells]
        *behind, front = sorted(used, key=lambda name: name != IN_PROCESS)
        threads = [
            threading.Thread(target=self._guarded, args=(of_engine[name], engines[name]), name=name) for name in behind
        ]
        for thread in threads:
            thread.start()
        try:
            self._carry(of_engine[front], engines[front])
        except BaseException:
            for engine in engines.values():
                if isinstance(engine, InProcess):
                    engine.stop.set()
            raise
        finally:
            for thread in threads:
                thread.join()
        for problem in self.problems:
            raise problem

    def _guarded(self, cells: Sequence[Cell], engine: Engine) -> None:
        try:
            self._carry(cells, engine)
        except BaseException as problem:
            self.problems.append(problem)

    def _carry(self, cells: Sequence[Cell], engine: Engine) -> None:
        batch = [self.stores[cell.engine].settings(cell) for cell in cells]
        with contextlib.closing(engine.run(batch, _Relay(cells, self.display, self.lock))) as ends:  # type: ignore[type-var]
            for how in ends:
                with self.lock:
                    self._note(cells[how.index], how)
                    self.display.ended(cells[how.index], how)

    def _note(self, cell: Cell, how: Finished) -> None:
        results = self.results
        results.ran += 1
        record = self.stores[cell.engine].add(cell)
        if how.summary is None or record is None:
            error = how.error or "it ended without a summary"
            self.failures.add(cell, error, how.seconds)
            results.causes[cell.key] = error.partition("\n")[0]
            results.failed += 1
            return
        self.failures.forget(cell)
        results.causes.pop(cell.key, None)
        results.records[cell.key] = record
        if self.pages is not None:
            self.pages.draw(record)


@dataclass
class _Relay(Watch):
    cells: Sequence[Cell]
    display: Display
    lock: threading.RLock

    def started(self, index: int) -> None:
        with self.lock:
            self.display.started(self.cells[index])

    def news(self, index: int, news: RoundNews) -> None:
        with self.lock:
            self.display.news(self.cells[index], news)


def _seconds(record: Path) -> float:
    from fedcrucible_core.records import files
    from fedcrucible_core.records.schema import RunSummary

    return RunSummary.model_validate_json((record / files.SUMMARY).read_bytes()).seconds_total
