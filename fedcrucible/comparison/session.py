"""From options to an outcome: the matrix is made, checked, run and written."""

from __future__ import annotations

import re
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fedcrucible.comparison.execution.display import Silent, matrix_display
from fedcrucible.comparison.execution.engines import Engine, engine
from fedcrucible.comparison.execution.pages import Pages
from fedcrucible.comparison.execution.run import Results, distinct, run_cells
from fedcrucible.comparison.execution.store import FAILURES, Failures, Store, only_one
from fedcrucible.comparison.plan.cell import ENGINES, IN_PROCESS, Cell
from fedcrucible.comparison.plan.checks import Checked, Impossible, check
from fedcrucible.comparison.plan.estimate import Estimate, Timing
from fedcrucible.comparison.plan.ladders import Tuning
from fedcrucible.comparison.plan.matrix import Matrix
from fedcrucible.comparison.plan.request import Options, assigned, matrix
from fedcrucible.comparison.tuning import choose, trial_cells, trials_of, tuned
from fedcrucible.engines.flower.environment import cpu_count
from fedcrucible.failures import MISUSED, CommandError, Interrupted
from fedcrucible.polite_kill import terminated_as_interrupted
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import load
from fedcrucible_core.config.places import runs_folder
from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.config.preset import load_preset
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records.environment import collect_environment
from fedcrucible_core.reports.statistics.spots import first_of

if TYPE_CHECKING:
    from fedcrucible.comparison.tables.outcome import Outcome

SHOWN_CELLS = 3
MOST_JOBS = 4
"""Jobs where nobody says how many; each takes a core and up to 1 GB."""


@dataclass(frozen=True)
class Request:
    """What a command was asked for."""

    options: Options
    jobs: int = 1
    """Runs at the same time; 0 = run nothing, make the tables of what is finished."""
    out: Path | None = None
    skip_impossible: bool = False
    quiet: bool = False
    every_round: bool = False
    """Whether each round is a line where stderr is no terminal."""
    display: Callable[[], AbstractContextManager[Silent]] | None = None
    """Another way to show how it goes on."""
    command: str = ""
    """How this was asked for; empty = as this process' command line says."""

    def shown(self) -> AbstractContextManager[Silent]:
        """The display to use."""
        return self.display() if self.display else matrix_display(self.quiet, self.every_round)


@dataclass(frozen=True)
class Preview:
    """What a matrix would run."""

    matrix: Matrix
    checked: Checked
    finished: tuple[Cell, ...]
    todo: tuple[Cell, ...]
    seconds: float
    """Estimate of all runs to do, over the jobs."""
    measured: bool
    """Whether it rests on finished runs rather than on timed batches."""
    folder: Path


class MatrixInterrupted(Interrupted):
    """Ctrl-C, with how far the matrix has come."""

    def __init__(self, folder: Path, text: str) -> None:
        super().__init__(folder)
        self.args = (text,)


class ImpossibleCellsError(CommandError):
    """Cells that can't be had together, or here."""

    def __init__(self, impossible: Sequence[Impossible]) -> None:
        self.count = sum(len(one.cells) for one in impossible)
        super().__init__(_said(impossible), "leave them out, or --skip-impossible", MISUSED)


def preview(request: Request) -> Preview:
    """Check all cells and estimate how long they take; writes nothing."""
    grid, checked, folder = _prepared(request, Silent())
    checked = replace(checked, cells=(*check(trial_cells(grid)).cells, *checked.cells))
    stores = _stores(folder, grid)
    cells = distinct(checked.cells)
    finished = tuple(cell for cell in cells if stores[cell.engine].finished(cell))
    todo = tuple(cell for cell in cells if cell not in finished)
    seconds, measured = _estimate(todo, finished, stores)
    return Preview(grid, checked, finished, todo, seconds / max(1, request.jobs), measured, folder)


def compare(request: Request) -> tuple[Outcome, Path]:
    """Run a matrix and write its files; returns the outcome and the folder.

    Raises ConfigError for settings that can't be used and CommandError for impossible cells before anything runs,
    Interrupted on Ctrl-C.
    """
    start = time.perf_counter()
    with terminated_as_interrupted(), request.shown() as display:
        grid, checked, folder = _prepared(request, display)
        if checked.impossible and not request.skip_impossible:
            raise ImpossibleCellsError(checked.impossible)
        engines = _engines(request, checked.cells, folder)
        with only_one(folder):
            stores, failures = _stores(folder, grid), Failures(folder / FAILURES)
            trials = check(trial_cells(grid)).cells
            try:
                if grid.tuning is not None:
                    grid = _tuned(grid, grid.tuning, trials, request, folder, stores, failures, display)
                    checked = check(grid.cells())
                results = _run(grid, checked.cells, stores, failures, engines, display)
            except KeyboardInterrupt:
                cells = distinct((*trials, *checked.cells))
                done = sum(stores[cell.engine].finished(cell) is not None for cell in cells)
                raise MatrixInterrupted(
                    folder, f"{done} of {len(cells)} runs are finished; the same command goes on from there"
                ) from None
            from fedcrucible.comparison.tables.outcome import Outcome  # tables and plots: seconds of imports
            from fedcrucible.comparison.tables.outputs import write_outputs

            outcome = Outcome(
                grid,
                checked.cells,
                checked.impossible,
                results,
                sum(engine.workers for engine in engines.values()),
                request.command or shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
                collect_environment(),
                time.perf_counter() - start,
            )
            write_outputs(outcome, folder)
    return outcome, folder


def _tuned(
    grid: Matrix,
    tuning: Tuning,
    possible: Sequence[Cell],
    request: Request,
    folder: Path,
    stores: Mapping[str, Store],
    failures: Failures,
    display: Silent,
) -> Matrix:
    """The matrix with the settings that its trials choose, once those of the ``possible`` ones that are missing ran."""
    from fedcrucible.comparison.tables.matrix_spots import recorded
    from fedcrucible_core.reports.statistics.measures import measured

    trials = trials_of(grid, tuning)
    results = run_cells(possible, stores, failures, _engines(request, possible, folder), display)

    def accuracy(cell: Cell) -> float | None:
        record = results.records.get(cell.key)
        return None if record is None else measured(recorded(record), tuning.measure)

    choices = [choose(one, accuracy, tuning.most_drop) for one in trials]
    for one in choices:
        display.note(one.sentence(grid, tuning.most_drop))
    return tuned(grid, choices, tuning.most_drop)


def _run(
    grid: Matrix,
    cells: Sequence[Cell],
    stores: Mapping[str, Store],
    failures: Failures,
    engines: Mapping[str, Engine],
    display: Silent,
) -> Results:
    if not grid.whole_records:
        return run_cells(cells, stores, failures, engines, display)
    with Pages() as pages:
        results = run_cells(cells, stores, failures, engines, display, pages)
        for record, problem in pages.failed().items():
            display.note(f"{record.name}: its page could not be drawn: {plain_text(problem)}")
    return results


def _engines(request: Request, cells: Sequence[Cell], folder: Path) -> dict[str, Engine]:
    """What carries the cells, by name; nothing for no jobs."""
    names = dict.fromkeys(cell.engine for cell in cells)
    if not request.jobs:
        return {}
    return {name: engine(name, request.jobs, folder / "logs", len(names) > 1) for name in names}


def _prepared(request: Request, display: Silent) -> tuple[Matrix, Checked, Path]:
    grid = matrix(request.options)
    cells = grid.cells()
    checked = check(cells, lambda done: display.checking(done, len(cells)))
    return grid, checked, request.out.resolve() if request.out else _default_folder(request, grid)


def _default_folder(request: Request, grid: Matrix) -> Path:
    shared = (
        load_preset(request.options.preset)
        | dict(request.options.base or {})
        | dict(assigned(request.options.settings))
    )
    output = load({key: value for key, value in shared.items() if key == "output.dir"}).output
    words = re.sub(r"[^a-z0-9]+", "-", grid.title.lower()).strip("-")
    return runs_folder(output.dir) / (words if words in ("", "comparison") else f"comparison-{words}")


def _stores(folder: Path, grid: Matrix) -> dict[str, Store]:
    """Engines end in the same model, but not in the same seconds, memory and bytes: each has records of its own."""
    return {
        name: Store(folder / ("cells" if name == IN_PROCESS else f"cells-{name}"), grid.whole_records)
        for name in ENGINES
    }


def _estimate(todo: Sequence[Cell], finished: Sequence[Cell], stores: Mapping[str, Store]) -> tuple[float, bool]:
    from fedcrucible_core.records.files import SUMMARY
    from fedcrucible_core.records.schema import RunSummary

    known = Estimate()
    for cell in finished:
        record = stores[cell.engine].finished(cell)
        assert record is not None
        known.learn(cell, RunSummary.model_validate_json((record / SUMMARY).read_bytes()).seconds_total)
    seconds = [known.seconds(cell) for cell in todo]
    if all(value is not None for value in seconds):
        return sum(value or 0.0 for value in seconds), True
    timing = Timing()
    return sum(timing.seconds(cell) for cell in todo), False


def _said(impossible: Sequence[Impossible]) -> str:
    lines = [f"{sum(len(one.cells) for one in impossible)} cells are impossible:"]
    for one in impossible:
        lines.append(f"  {first_of([cell.title for cell in one.cells], SHOWN_CELLS)}: {one.cause}")
    return "\n".join(lines)


def usual_jobs(jobs: int | None, engine_name: str) -> int:
    """As many as asked for, else one per CPU at hand up to four; one through Flower. Raises ConfigError."""
    if jobs is not None:
        if not isinstance(jobs, int) or jobs < 0:
            raise ConfigError("jobs", jobs, "a whole number, at least 0 (0 = only tabulate)")
        return jobs
    return 1 if engine_name != IN_PROCESS else min(MOST_JOBS, cpu_count())


def check_output_settings(settings: Sequence[str] | Mapping[str, Scalar]) -> None:
    """Raises ConfigError for output keys that have no meaning here."""
    for key, value in assigned(settings):
        if key.startswith("output.") and key != "output.dir":
            raise ConfigError(key, value, "records of a comparison have names of their own and no pages; see --out")
