"""A list of cells from code: run what is missing, tabulate all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fedcrucible.comparison.execution.display import matrix_display
from fedcrucible.comparison.execution.engines import engine
from fedcrucible.comparison.execution.run import run_cells
from fedcrucible.comparison.execution.store import FAILURES, Failures, Store, only_one
from fedcrucible.comparison.plan.cell import IN_PROCESS, Cell
from fedcrucible.comparison.plan.checks import check
from fedcrucible.comparison.tables.frame import results_frame
from fedcrucible_core.config.values import value_text
from fedcrucible_core.reports import Labelled


def sweep(cells: Sequence[Cell], folder: Path, jobs: int) -> pd.DataFrame:
    """Run what isn't finished, with records directly in ``folder``; one row per cell that has numbers.

    With ``jobs`` 0 nothing is run.  Raises ConfigError or ValueError for cells that can't be had; failed ones are told
    and left out.
    """
    folder = folder.resolve()
    with matrix_display(quiet=False) as display, only_one(folder):
        checked = check(cells)
        for one in checked.impossible:
            raise ValueError(f"{one.cells[0].title}: {one.cause}")
        engines = {IN_PROCESS: engine(IN_PROCESS, jobs, folder / "logs")} if jobs else {}
        stores = {IN_PROCESS: Store(folder)}
        results = run_cells(checked.cells, stores, Failures(folder / FAILURES), engines, display)
    frame = results_frame(checked.cells, results)
    return frame[frame["record"].notna()] if "record" in frame else frame.iloc[:0]


def labelled(frame: pd.DataFrame, label: str) -> list[Labelled]:
    """The frame's records, called by their ``label``."""
    return [
        Labelled(Path(folder), value_text(name)) for folder, name in zip(frame["record"], frame[label], strict=True)
    ]
