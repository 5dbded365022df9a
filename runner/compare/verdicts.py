"""What the numbers of a matrix say: best values, weak attacks, paired tests, the paper's numbers beside ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from config.load import Scalar
from runner.compare.cell import SEED, value_text
from runner.compare.frame import combinations
from runner.compare.matrix import Matrix
from runner.compare.tables import column_spread
from runner.papers.tables import PaperTable
from server_app.report.paired import Paired, paired
from server_app.report.spread import Spread
from server_app.report.standing import Best, best, is_weak


@dataclass(frozen=True)
class Row:
    """One system in one spot."""

    system: str
    part: pd.DataFrame
    ma: Spread | None
    asr: Spread | None
    paper: tuple[float, float] | None
    """MA and ASR that the paper prints."""


@dataclass(frozen=True)
class Spot:
    """Everything that faced the same attack on the same data."""

    block: Mapping[str, Scalar]
    """Values of the axes that make tables of their own."""
    column: Scalar | None
    rows: tuple[Row, ...]
    best: Best
    weak: bool | None
    """True where the undefended ASR is below 50 %; None without attackers, or without an undefended run."""
    attacked: bool

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
            "system": row.system,
            "seeds": int(row.part["ma"].notna().sum()) if "ma" in row.part else 0,
            "MA": _spread_object(row.ma),
            "ASR": _spread_object(row.asr),
            "best_MA": row.system in spot.best.ma,
            "best_ASR": row.system in spot.best.asr,
            "weak_attack": spot.weak,
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
                if test.spot is spot and test.system == row.system
            },
        }


def _spot(matrix: Matrix, key: Mapping[str, Scalar], frame: pd.DataFrame, paper: PaperTable | None) -> Spot:
    rows = tuple(
        Row(
            value_text(system),
            part,
            column_spread(part, "ma"),
            column_spread(part, "asr"),
            _paper_value(matrix, part, paper),
        )
        for (system,), part in combinations(frame, [matrix.system_axis])
    )
    attacked = "attackers" in frame and bool((frame["attackers"] > 0).any())  # no such column: no run has ended yet
    weak = None
    if attacked:
        plain = frame[(frame["undefended"] == True) & (frame["attackers"] > 0)]  # noqa: E712
        weak = is_weak([float(value) for value in plain["asr"].dropna()])
    return Spot(
        {name: key[name] for name in matrix.block_axes},
        key.get(matrix.column_axis) if matrix.column_axis else None,
        rows,
        best({row.system: row.ma for row in rows}, {row.system: row.asr for row in rows}, matrix.margin),
        weak,
        attacked,
    )


def _tests(spot: Spot, reference: str) -> Iterator[Test]:
    base = next((row for row in spot.rows if row.system == reference), None)
    for row in spot.rows:
        if base is None or row is base:
            continue
        for measure in ("ma", "asr"):
            result = paired(_by_seed(row.part, measure), _by_seed(base.part, measure))
            if result is not None:
                yield Test(spot, row.system, reference, measure, result)


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
