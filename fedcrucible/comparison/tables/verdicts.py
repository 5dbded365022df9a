"""What the numbers of a matrix say: best values, weak attacks, paired tests, the paper's numbers beside ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fedcrucible.comparison.plan.cell import SEED, value_text
from fedcrucible.comparison.plan.matrix import Matrix
from fedcrucible.comparison.tables.frame import combinations, recorded
from fedcrucible.papers.tables import PaperTable
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records.reader import RecordedRun
from fedcrucible_core.reports.statistics.cells import Cell, notes_of
from fedcrucible_core.reports.statistics.paired import Paired, paired
from fedcrucible_core.reports.statistics.spread import Spread
from fedcrucible_core.reports.statistics.standing import Best, Standing, standing


@dataclass(frozen=True, kw_only=True)
class Row(Cell):
    """One system in one spot, called by its label."""

    part: pd.DataFrame
    """Its rows of the frame, those without a run too."""
    paper: tuple[float, float] | None
    """MA and ASR that the paper prints."""

    @property
    def ma(self) -> Spread | None:
        """MA over seeds."""
        return self.spread_of("ma_percent")

    @property
    def asr(self) -> Spread | None:
        """ASR over seeds."""
        return self.spread_of("asr_percent")


@dataclass(frozen=True)
class Spot:
    """Everything that faced the same attack on the same data."""

    block: Mapping[str, Scalar]
    """Values of the axes that make tables of their own."""
    column: Scalar | None
    rows: tuple[Row, ...]
    standing: Standing

    @property
    def best(self) -> Best:
        """Systems to mark."""
        return self.standing.best

    @property
    def weak(self) -> bool | None:
        """Whether the attack fails undefended; None where that isn't known."""
        return self.standing.weak

    @property
    def attacked(self) -> bool:
        """Whether anybody attacked in any of its runs."""
        return self.standing.attacked

    def aside(self, row: Row) -> str:
        """Why a row isn't compared with the others; empty where it is."""
        return self.standing.left_out.get(row.title, "")

    @property
    def column_text(self) -> str:
        """The column's heading."""
        return "" if self.column is None else value_text(self.column)


@dataclass(frozen=True)
class Test:
    """One system against the reference in one spot."""

    spot: Spot
    system: str
    reference: str
    measure: str
    """ma or asr."""
    result: Paired


def spots(matrix: Matrix, frame: pd.DataFrame, paper: PaperTable | None) -> list[Spot]:
    """All spots in table order."""
    columns = [matrix.column_axis] if matrix.column_axis else []
    return [
        _spot(matrix, dict(zip([*matrix.block_axes, *columns], key, strict=True)), part, paper)
        for key, part in combinations(frame, [*matrix.block_axes, *columns])
    ]


def tests(found: Sequence[Spot], reference: str) -> list[Test]:
    """Paired tests of every system against the reference, over the seeds that both have; none where it is missing."""
    return [test for spot in found for test in _tests(spot, reference)]


def as_object(spot: Spot, test_results: Sequence[Test]) -> Iterator[dict[str, Any]]:
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
            "paper": None if row.paper is None else {"MA": row.paper[0], "ASR": row.paper[1]},
            "tests": {
                test.measure: {
                    "reference": test.reference,
                    "pairs": test.result.pairs,
                    "difference": test.result.difference.mean,
                    "paired_t_p": test.result.t_p,
                    "wilcoxon_p": test.result.wilcoxon_p,
                }
                for test in test_results
                if test.spot is spot and test.system == row.label
            },
        }


def _spot(matrix: Matrix, key: Mapping[str, Scalar], frame: pd.DataFrame, paper: PaperTable | None) -> Spot:
    rows = tuple(
        Row(label=value_text(system), runs=_runs(part), part=part, paper=_paper_value(matrix, part, paper))
        for (system,), part in combinations(frame, [matrix.system_axis])
    )
    return Spot(
        {name: key[name] for name in matrix.block_axes},
        key.get(matrix.column_axis) if matrix.column_axis else None,
        rows,
        standing(rows, matrix.margin),
    )


def _runs(part: pd.DataFrame) -> tuple[RecordedRun, ...]:
    folders: Sequence[str] = list(part["record"].dropna()) if "record" in part else []
    return tuple(recorded(Path(folder)) for folder in folders)


def _tests(spot: Spot, reference: str) -> Iterator[Test]:
    base = next((row for row in spot.rows if row.label == reference), None)
    for row in spot.rows:
        if base is None or row is base:
            continue
        for measure in ("ma", "asr"):
            result = paired(_by_seed(row.part, measure), _by_seed(base.part, measure))
            if result is not None:
                yield Test(spot, row.label, reference, measure, result)


def _by_seed(part: pd.DataFrame, measure: str) -> dict[int, float]:
    if measure not in part:
        return {}
    known = part[part[measure].notna()]
    return {int(seed): float(value) for seed, value in zip(known[SEED], known[measure], strict=True)}


def _paper_value(matrix: Matrix, part: pd.DataFrame, paper: PaperTable | None) -> tuple[float, float] | None:
    if paper is None or part.empty:
        return None
    labels = []
    for axis in paper.axes:
        if axis not in part:
            return None
        ((value,), _), *_ = combinations(part, [axis])
        ours = value_text(value)
        labels.append(matrix.paper_labels.get(axis, {}).get(ours, ours))
    return paper.values.get(tuple(labels))


def _spread_object(found: Spread | None) -> dict[str, float | None] | None:
    if found is None:
        return None
    return {"mean": found.mean, "sd": found.deviation, "low": found.low, "high": found.high}
