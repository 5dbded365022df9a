"""All that is known when a matrix has been run: what the outputs are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from fedcrucible.comparison.execution.run import Results
from fedcrucible.comparison.plan.cell import Cell, value_text
from fedcrucible.comparison.plan.checks import Impossible
from fedcrucible.comparison.plan.explain import Explained
from fedcrucible.comparison.plan.matrix import Matrix
from fedcrucible.comparison.tables.frame import results_frame
from fedcrucible.comparison.tables.verdicts import Spot, Test, spots, tests
from fedcrucible.papers.tables import PaperTable, load_table
from fedcrucible_core.config.load import default_keys, flatten
from fedcrucible_core.learning.datasets import load_task
from fedcrucible_core.records.schema import Environment
from server_app.identity import data_digest


@dataclass(frozen=True)
class Outcome:
    """A matrix, its cells and their results."""

    matrix: Matrix
    cells: tuple[Cell, ...]
    """Those that could run, labels and all."""
    impossible: tuple[Impossible, ...]
    results: Results
    engine: str
    jobs: int
    command: str
    environment: Environment
    seconds: float

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per cell."""
        return results_frame(self.cells, self.results)

    @cached_property
    def paper(self) -> PaperTable | None:
        """The paper's table beside ours."""
        return load_table(self.matrix.paper) if self.matrix.paper else None

    @cached_property
    def spots(self) -> list[Spot]:
        """What the numbers say, in table order."""
        return spots(self.matrix, self.frame, self.paper)

    @cached_property
    def tests(self) -> list[Test]:
        """Paired tests against the reference."""
        return tests(self.spots, self.reference)

    @property
    def reference(self) -> str:
        """The system that others are tested against."""
        systems = [row.label for spot in self.spots for row in spot.rows]
        return self.matrix.reference or (systems[0] if systems else "")

    @property
    def failed(self) -> list[tuple[Cell, str]]:
        """Cells without a record, with the cause; cells that are one run are named once."""
        found = {cell.digest: cell for cell in reversed(self.cells) if cell.digest in self.results.causes}
        return [(cell, self.results.causes[key]) for key, cell in reversed(found.items())]

    @property
    def usual_seeds(self) -> int:
        """Seeds of a complete cell."""
        return len(self.matrix.seeds)

    @property
    def other_sources(self) -> int:
        """Records that were made by other sources of this project than those at hand.

        Flower's bundle of the app holds fewer rooms than a checkout, so its runs are compared with one another.
        """
        known = self.frame.drop_duplicates("config_hash").get("source_sha256", pd.Series(dtype=str)).dropna()
        if known.empty:
            return 0
        expected = self.environment.source_sha256 if self.engine == "in-process" else known.mode()[0]
        return int((known != expected).sum())

    @cached_property
    def other_data(self) -> int:
        """Records that were made from other pictures or labels than those that their settings name now."""
        tasks = {cell.digest: cell.config.task for cell in self.cells if cell.digest in self.results.records}
        now = {task: data_digest(load_task(task)) for task in set(tasks.values())}
        rows = self.frame.drop_duplicates("config_hash").set_index("config_hash")
        known = rows.get("data_sha256", pd.Series(dtype=str))
        return sum(known.get(key) not in (None, "", now[task]) for key, task in tasks.items())

    def shared_settings(self) -> list[Explained]:
        """Settings of all cells that differ from the defaults; what axes vary is left out."""
        if not self.cells:
            return []
        defaults, varied = default_keys(), {key for axis in self.matrix.axes for key in axis.keys}
        values = flatten(self.cells[0].config)
        return [
            (key, value_text(value), "")
            for key, value in values.items()
            if value != defaults[key] and key not in varied and not key.startswith(("output.", "run.seed"))
        ]

    def axes_text(self) -> Sequence[tuple[str, str]]:
        """The axes and their values."""
        named = [(axis.name, ", ".join(map(value_text, axis.labels))) for axis in self.matrix.axes]
        return [*named, ("seeds", ", ".join(map(str, self.matrix.seeds)))]
