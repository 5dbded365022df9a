"""Pages of single runs, drawn while the next runs go on."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import Future, ProcessPoolExecutor, wait
from pathlib import Path
from types import TracebackType
from typing import Self

from fedcrucible.comparison.execution.engines import BACKGROUND
from fedcrucible.engines.batch import without_script


class Pages:
    """Context manager: one worker of low priority that draws; leaving it waits for the last page."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn"), initializer=os.nice, initargs=(BACKGROUND,)
        )
        self._drawn: dict[Path, Future[Path]] = {}

    def __enter__(self) -> Self:
        """Nothing starts before the first page."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait; after an error only for the page that is being drawn."""
        self._pool.shutdown(wait=True, cancel_futures=error is not None)

    def draw(self, record: Path) -> None:
        """Draw a record's report.html some time soon."""
        with without_script():
            self._drawn[record] = self._pool.submit(draw_page, record)

    def failed(self) -> dict[Path, BaseException]:
        """Records whose page could not be drawn; waits for all. It costs no run: the numbers are recorded."""
        wait(self._drawn.values())
        problems = {record: page.exception() for record, page in self._drawn.items()}
        return {record: problem for record, problem in problems.items() if problem is not None}


def draw_page(folder: Path) -> Path:
    """Write a record's report.html (in a worker: plots take seconds of imports and of t-SNE)."""
    from fedcrucible_core.reports.pages.run_report import render_report

    return render_report(folder)
