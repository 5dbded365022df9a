"""The demo: FedAvg, FLAME and CLIP-Fed under BadNets through ``flwr run``, beside the rows that give them a meaning."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from fedcrucible_core.config.plain_text import first_line, plain_text
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records.schema import RunSummary


@dataclass(frozen=True)
class Row:
    """One line of the demo's table."""

    label: str
    settings: Mapping[str, Scalar]
    through_flower: bool = False


SERVER_ALONE: Mapping[str, Scalar] = {
    "strategy": "server-data-only",
    # Trained to the end on the server's images: a control that is held short would flatter every defence.
    "purifier.fine-tune.lr": 0.05,
    "purifier.fine-tune.epochs": 4,
}
ROWS = (
    Row("guide zero-shot, no training", {"strategy": "guide-zero-shot"}),
    Row("server data alone, no clients", SERVER_ALONE),
    Row("FedAvg, nobody malicious", {"strategy": "fedavg", "adversary.malicious_fraction": 0.0}),
    Row("FedAvg, attacked", {"strategy": "fedavg"}, through_flower=True),
    Row("FLAME, attacked", {"strategy": "flame"}, through_flower=True),
    Row("CLIP-Fed, attacked", {"strategy": "clip-fed"}, through_flower=True),
)
"""Controls first: they run in processes of their own while Flower starts."""


BACKGROUND = 5
"""Niceness of what runs beside Flower."""


def background_pool() -> ProcessPoolExecutor:
    """One worker process of low priority."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=os.nice, initargs=(BACKGROUND,))


def draw_page(folder: Path) -> Path:
    """Write a record's report.html (in a worker: plots take seconds of imports and of t-SNE)."""
    from fedcrucible_core.reports.pages.run_report import render_report

    return render_report(folder)


@dataclass
class Progress:
    """What is known of a row while the demo goes on."""

    row: Row
    state: str = "waiting"
    last: str = ""
    summary: RunSummary | None = None
    error: str = ""
    seconds: float = 0.0


class Demo:
    """Runs all rows; ``tell`` is called with a row's progress whenever it changes (from any thread)."""

    def __init__(self, folder: Path, common: Mapping[str, Scalar], tell: Callable[[Progress], None]) -> None:
        self.folder = folder
        self.common = dict(common)
        self.tell = tell
        self.rows = [Progress(row) for row in ROWS]
        self._pages: dict[Future[Path], Progress] = {}

    def settings(self, row: Row) -> dict[str, Scalar]:
        """A row's settings with a record folder of its own."""
        name = "".join(c if c.isalnum() else "-" for c in row.label.lower()).replace("--", "-").strip("-")
        # Pages are drawn in the background: Flower's next run starts meanwhile.
        own: dict[str, Scalar] = {"output.dir": str(self.folder), "output.name": name, "output.report": False}
        return {**self.common, **row.settings, **own}

    def run(self) -> Sequence[Progress]:
        """All rows, controls in the background; a row that fails is told and stops no other."""
        controls = threading.Thread(target=self._controls, name="controls", daemon=True)
        with background_pool() as self._pool:
            controls.start()
            self._through_flower()
            controls.join()
            wait(self._pages)
            for page, progress in self._pages.items():
                if problem := page.exception():  # costs no row: its numbers are recorded
                    self._note(progress, state="done", last=f"its page could not be drawn: {plain_text(problem)}")
        return self.rows

    def _controls(self) -> None:
        from fedcrucible.engines.batch import run_batch

        rows = [progress for progress in self.rows if not progress.row.through_flower]
        for progress in rows:
            self._note(progress, state="queued in the background")
        # One worker at low priority: it takes the cores only while Flower leaves them idle.
        for done in run_batch([self.settings(progress.row) for progress in rows], jobs=1, niceness=BACKGROUND):
            progress = rows[done.index]
            self._end(progress, done.summary, done.cause, done.seconds)

    def _through_flower(self) -> None:
        from fedcrucible.engines.flower.simulation import run_simulation
        from fedcrucible.engines.flower.superlink import LocalSuperLink

        with LocalSuperLink() as superlink:
            for progress in self.rows:
                if not progress.row.through_flower:
                    continue
                start = time.perf_counter()
                self._note(progress, state="starting Flower and Ray")
                try:
                    summary = run_simulation(
                        self.settings(progress.row), superlink=superlink, on_line=self._lines(progress)
                    )
                except Exception as error:
                    self._end(progress, None, first_line(error), time.perf_counter() - start)
                else:
                    self._end(progress, summary, "", time.perf_counter() - start)

    def _lines(self, progress: Progress) -> Callable[[str], None]:
        def on_line(line: str) -> None:
            if line.startswith("round "):
                self._note(progress, state="running", last=line.strip())

        return on_line

    def _note(self, progress: Progress, state: str, last: str = "") -> None:
        progress.state, progress.last = state, last
        self.tell(progress)

    def _end(self, progress: Progress, summary: RunSummary | None, error: str, seconds: float) -> None:
        progress.summary, progress.error, progress.seconds = summary, error, seconds
        if summary is not None:
            self._pages[self._pool.submit(draw_page, Path(summary.folder))] = progress
        self._note(progress, state="done" if summary is not None else "failed", last=error)

    def reports(self) -> Iterator[tuple[str, Path]]:
        """Label and record folder of every row that has numbers, in table order."""
        for progress in self.rows:
            if progress.summary is not None:
                yield progress.row.label, Path(progress.summary.folder)
