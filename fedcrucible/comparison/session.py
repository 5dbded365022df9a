"""From options to an outcome: the matrix is made, checked, run and written."""

from __future__ import annotations

import contextlib
import re
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedcrucible.comparison.execution.display import Silent, matrix_display
from fedcrucible.comparison.execution.engines import engine
from fedcrucible.comparison.execution.lock import only_one
from fedcrucible.comparison.execution.run import distinct, run_cells
from fedcrucible.comparison.execution.store import FAILURES, Failures, Store
from fedcrucible.comparison.plan.cell import Cell
from fedcrucible.comparison.plan.checks import Checked, Impossible, check
from fedcrucible.comparison.plan.estimate import Estimate, Timing
from fedcrucible.comparison.plan.matrix import Matrix
from fedcrucible.comparison.plan.request import Options, matrix
from fedcrucible.failures import MISUSED, CommandError
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import load, load_assignments, load_preset
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records.environment import collect_environment
from fedcrucible_core.records.location import base_folder

if TYPE_CHECKING:
    from fedcrucible.comparison.tables.outcome import Outcome

SHOWN_CELLS = 3


@dataclass(frozen=True)
class Request:
    """What a command was asked for."""

    options: Options
    jobs: int = 1
    """Runs at the same time; 0 = run nothing, make the tables of what is finished."""
    engine: str = "in-process"
    out: Path | None = None
    skip_impossible: bool = False
    quiet: bool = False


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


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with how far the matrix has come."""


def preview(request: Request) -> Preview:
    """Check all cells and estimate how long they take; writes nothing."""
    found, checked, folder = _prepared(request, Silent())
    store = Store(_records(folder, request.engine))
    cells = distinct(checked.cells)
    finished = tuple(cell for cell in cells if store.finished(cell))
    todo = tuple(cell for cell in cells if not store.finished(cell))
    seconds, measured = _estimate(todo, finished, store)
    return Preview(found, checked, finished, todo, seconds / max(1, request.jobs), measured, folder)


def compare(request: Request) -> tuple[Outcome, Path]:
    """Run a matrix and write its files; returns the outcome and the folder.

    Raises ConfigError for settings that can't be used and CommandError for impossible cells before anything runs,
    Interrupted on Ctrl-C.
    """
    start = time.perf_counter()
    with _terminate_as_interrupt(), matrix_display(request.quiet) as display:
        found, checked, folder = _prepared(request, display)
        if checked.impossible and not request.skip_impossible:
            raise CommandError(_said(checked.impossible), "leave them out, or --skip-impossible", MISUSED)
        carrier = engine(request.engine, request.jobs, folder / "logs") if request.jobs else None
        with only_one(folder):
            store = Store(_records(folder, request.engine))
            try:
                results = run_cells(checked.cells, store, Failures(folder / FAILURES), carrier, display)
            except KeyboardInterrupt:
                cells = distinct(checked.cells)
                done = sum(store.finished(cell) is not None for cell in cells)
                raise Interrupted(
                    f"{done} of {len(cells)} runs are finished; the same command goes on from there"
                ) from None
            from fedcrucible.comparison.tables.outcome import Outcome  # tables and plots: seconds of imports
            from fedcrucible.comparison.tables.outputs import write_outputs

            outcome = Outcome(
                found,
                checked.cells,
                checked.impossible,
                results,
                request.engine,
                carrier.workers if carrier else 0,
                shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
                collect_environment(),
                time.perf_counter() - start,
            )
            write_outputs(outcome, folder)
    return outcome, folder


def _prepared(request: Request, display: Silent) -> tuple[Matrix, Checked, Path]:
    found = matrix(request.options)
    cells = found.cells()
    checked = check(cells, lambda done: display.checking(done, len(cells)))
    return found, checked, request.out.resolve() if request.out else _default_folder(request, found)


def _default_folder(request: Request, found: Matrix) -> Path:
    preset: dict[str, Scalar] = load_preset(request.options.preset) if request.options.preset else {}
    chosen = preset | load_assignments(request.options.settings)
    output = load({key: value for key, value in chosen.items() if key == "output.dir"}).output
    words = re.sub(r"[^a-z0-9]+", "-", found.title.lower()).strip("-")
    return base_folder(output) / (words if words in ("", "comparison") else f"comparison-{words}")


def _records(folder: Path, engine_name: str) -> Path:
    """Engines end in the same model, but not in the same seconds, memory and bytes: each has records of its own."""
    return folder / ("cells" if engine_name == "in-process" else f"cells-{engine_name}")


def _estimate(todo: Sequence[Cell], finished: Sequence[Cell], store: Store) -> tuple[float, bool]:
    from fedcrucible_core.records.files import SUMMARY
    from fedcrucible_core.records.schema import RunSummary

    known = Estimate()
    for cell in finished:
        record = store.finished(cell)
        assert record is not None
        known.learn(cell, RunSummary.model_validate_json((record / SUMMARY).read_bytes()).seconds_total)
    seconds = [known.seconds(cell) for cell in todo]
    if all(value is not None for value in seconds):
        return sum(value or 0.0 for value in seconds), True
    timing = Timing()
    return sum(timing.seconds(cell) for cell in todo), False


def _said(found: Sequence[Impossible]) -> str:
    lines = [f"{sum(len(one.cells) for one in found)} cells are impossible:"]
    for one in found:
        titles = "; ".join(cell.title for cell in one.cells[:SHOWN_CELLS])
        more = f" and {len(one.cells) - SHOWN_CELLS} more" if len(one.cells) > SHOWN_CELLS else ""
        lines.append(f"  {titles}{more}: {one.cause}")
    return "\n".join(lines)


@contextlib.contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """A polite kill is handled like Ctrl-C, so that workers end too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def check_output_settings(settings: Sequence[str]) -> None:
    """Raises ConfigError for output keys that have no meaning here."""
    for key, value in load_assignments(settings).items():
        if key.startswith("output.") and key != "output.dir":
            raise ConfigError(key, value, "records of a comparison have names of their own and no pages; see --out")
