"""A matrix' cells as rows in spots, with the paper's numbers beside ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from fedcrucible.comparison.execution.run import Results
from fedcrucible.comparison.plan.cell import SEED, Cell
from fedcrucible.comparison.plan.matrix import AXIS_OF_KEY, Matrix
from fedcrucible.papers.tables import PaperTable
from fedcrucible_core.config.load import flatten
from fedcrucible_core.config.values import Scalar, value_text
from fedcrucible_core.records.reader import RecordedRun, read
from fedcrucible_core.reports.statistics.from_records import apart_from_most
from fedcrucible_core.reports.statistics.printed import Printed
from fedcrucible_core.reports.statistics.reference_tests import ReferenceTest
from fedcrucible_core.reports.statistics.rows import Row, notes_of
from fedcrucible_core.reports.statistics.spots import Spot
from fedcrucible_core.reports.statistics.spread import Spread, spread

Labels = Mapping[str, Scalar]


def recorded(folder: Path) -> RecordedRun:
    """A record without its images; read once however many cells and tables ask."""
    return _read(folder)


@lru_cache(maxsize=4096)
def _read(folder: Path) -> RecordedRun:
    return read(folder, arrays=False)


def labels_of(cell: Cell) -> dict[str, Scalar]:
    """A cell's labels, and its values of the usual axes, also where the matrix has no such axis."""
    values = flatten(cell.config)
    labels = {name: value for name, value in cell.labels.items() if name != SEED}
    return labels | {axis: values[key] for key, axis in AXIS_OF_KEY.items() if axis not in labels}


def matrix_spots(matrix: Matrix, cells: Sequence[Cell], results: Results, paper: PaperTable | None) -> list[Spot]:
    """All spots in table order."""
    axes = [*matrix.block_axes, *([matrix.column_axis] if matrix.column_axis else [])]
    apart = apart_from_most({value_text(point.label): point.settings for point in matrix.system_points})
    groups: dict[tuple[Scalar, ...], dict[str, list[tuple[Labels, Cell]]]] = {}
    for cell in cells:
        labels = labels_of(cell)
        spot = groups.setdefault(tuple(labels[name] for name in axes), {})
        spot.setdefault(value_text(labels[matrix.system_axis]), []).append((labels, cell))
    spots = []
    for key, systems in groups.items():
        values = dict(zip(axes, key, strict=True))
        column = values.get(matrix.column_axis) if matrix.column_axis else None
        rows = tuple(
            Row(label=label, runs=_runs(members, results), paper=_printed(matrix, members[0][0], paper))
            for label, members in systems.items()
        )
        rows = tuple(replace(row, paper=with_ours(row, rows)) for row in rows)
        block = {name: values[name] for name in matrix.block_axes}
        spots.append(Spot(rows, block, column, _heading(matrix, column), matrix.margin, apart))
    return spots


def as_object(spot: Spot, tests: Sequence[ReferenceTest]) -> Iterator[dict[str, Any]]:
    """A spot's rows for machines."""
    for row in spot.rows:
        yield {
            **spot.block,
            "column": spot.column,
            "system": row.label,
            "seeds": len(row.seeds),
            "MA": _spread_object(row.ma),
            "ASR": _spread_object(row.asr),
            "best_MA": row.label in spot.best.ma,
            "best_ASR": row.label in spot.best.asr,
            "weak_attack": spot.weak,
            "flaw": row.flaw,
            "not_compared": spot.aside(row),
            "notes": notes_of(row.runs),
            "paper": {one.name: one.value for one in row.paper} or None,
            "beside_paper": {one.name: _spread_object(one.ours) for one in row.paper} or None,
            "tests": {
                test.measure: {
                    "reference": test.reference,
                    "pairs": test.result.pairs,
                    "difference": test.result.difference.mean,
                    "paired_t_p": test.result.t_p,
                    "wilcoxon_p": test.result.wilcoxon_p,
                }
                for test in tests
                if test.spot is spot and test.system == row.label
            },
        }


def _runs(members: Sequence[tuple[Labels, Cell]], results: Results) -> tuple[RecordedRun, ...]:
    folders = [results.records.get(cell.key) for _, cell in members]
    return tuple(recorded(folder) for folder in folders if folder is not None)


def _heading(matrix: Matrix, column: Scalar | None) -> str:
    if column is None:
        return ""
    short = matrix.column_axis.rpartition(".")[2]
    return value_text(column) if isinstance(column, str) else f"{short} {value_text(column)}"


def _printed(matrix: Matrix, labels: Labels, paper: PaperTable | None) -> tuple[Printed, ...]:
    """What the paper says of the cell with these labels."""
    if paper is None or not all(axis in labels for axis in paper.axes):
        return ()
    ours = [(axis, value_text(labels[axis])) for axis in paper.axes]
    values = paper.values.get(tuple(matrix.paper_labels.get(axis, {}).get(name, name) for axis, name in ours))
    if values is None:
        return ()
    return tuple(
        Printed(number.name, value, number.ours, number.drop)
        for number, value in zip(paper.numbers, values, strict=True)
    )


def with_ours(row: Row, rows: Sequence[Row]) -> tuple[Printed, ...]:
    """The paper's numbers of a row with ours beside them; a drop is seed by seed, below the spot's undefended row."""
    plain = next((other for other in rows if other.undefended), None)
    found = []
    for one in row.paper:
        values = row.by_seed(one.column)
        if one.drop:
            base = {} if plain is None else plain.by_seed(one.column)
            values = {seed: base[seed] - value for seed, value in values.items() if seed in base}
        found.append(replace(one, ours=spread(list(values.values()))))
    return tuple(found)


def _spread_object(found: Spread | None) -> dict[str, float | None] | None:
    if found is None:
        return None
    return {"mean": found.mean, "sd": found.deviation, "low": found.low, "high": found.high}
