"""All that is known when a matrix has been run: what the outputs are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from fedcrucible.comparison.execution.run import Results
from fedcrucible.comparison.plan.cell import IN_PROCESS, Cell
from fedcrucible.comparison.plan.checks import Impossible
from fedcrucible.comparison.plan.explain import Explained
from fedcrucible.comparison.plan.matrix import Matrix
from fedcrucible.comparison.tables.frame import results_frame
from fedcrucible.comparison.tables.matrix_spots import matrix_spots, recorded
from fedcrucible.papers.tables import PaperTable, load_table
from fedcrucible_core.config.load import default_keys, flatten
from fedcrucible_core.config.values import value_text
from fedcrucible_core.learning.datasets import load_task
from fedcrucible_core.records.schema import Environment
from fedcrucible_core.reports.pages.parts import Layout, Part, parts
from fedcrucible_core.reports.statistics.reference_tests import ReferenceTest, reference_tests
from fedcrucible_core.reports.statistics.spots import Spot
from server_app.identity import data_digest


@dataclass(frozen=True)
class Outcome:
    """A matrix, its cells and their results."""

    matrix: Matrix
    cells: tuple[Cell, ...]
    """Those that could run, labels and all."""
    impossible: tuple[Impossible, ...]
    results: Results
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
        return matrix_spots(self.matrix, self.cells, self.results, self.paper)

    @cached_property
    def tests(self) -> list[ReferenceTest]:
        """Paired tests against the reference."""
        return reference_tests(self.spots, self.reference)

    @cached_property
    def parts(self) -> list[Part]:
        """The tables beside the main one."""
        layout = Layout(self.matrix.system_axis, self.matrix.column_axis, self.usual_seeds)
        together = f"{self.jobs} runs went on at the same time, so seconds are longer than those of a run alone."
        return list(parts(self.spots, layout, self.tests, together if self.jobs > 1 else ""))

    @property
    def reference(self) -> str:
        """The system that others are tested against."""
        systems = [row.label for spot in self.spots for row in spot.rows]
        return self.matrix.reference or (systems[0] if systems else "")

    @property
    def engine(self) -> str:
        """What carried the runs, in words."""
        return " and ".join(dict.fromkeys(cell.engine for cell in self.cells)) or IN_PROCESS

    @property
    def failed(self) -> list[tuple[Cell, str]]:
        """Cells without a record, with the cause; cells that are one run are named once."""
        found = {cell.key: cell for cell in reversed(self.cells) if cell.key in self.results.causes}
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
        made: dict[str, list[str]] = {}
        for key, folder in self.results.records.items():
            environment = recorded(folder).environment
            if environment is not None and environment.source_sha256:
                made.setdefault(self._by_key[key].engine, []).append(environment.source_sha256)
        return sum(
            digest != (self.environment.source_sha256 if engine == IN_PROCESS else max(digests, key=digests.count))
            for engine, digests in made.items()
            for digest in digests
        )

    @cached_property
    def other_data(self) -> int:
        """Records that were made from other pictures or labels than those that their settings name now."""
        tasks = {key: self._by_key[key].config.task for key in self.results.records}
        now = {task: data_digest(load_task(task)) for task in set(tasks.values())}
        known = {key: recorded(folder).run.data_sha256 for key, folder in self.results.records.items()}
        return sum(known[key] not in ("", now[task]) for key, task in tasks.items())

    @property
    def _by_key(self) -> dict[str, Cell]:
        return {cell.key: cell for cell in self.cells}

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
