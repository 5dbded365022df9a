"""Every row against one system, the reference, over the seeds that both have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fedcrucible_core.reports.statistics.paired import Paired, paired
from fedcrucible_core.reports.statistics.spots import Spot

TESTED = ("ma", "asr")


@dataclass(frozen=True)
class ReferenceTest:
    """One system against the reference in one spot."""

    spot: Spot
    system: str
    reference: str
    measure: str
    """ma or asr."""
    result: Paired


def reference_tests(spots: Sequence[Spot], reference: str) -> list[ReferenceTest]:
    """Paired tests of every row; none in spots where the reference is missing."""
    return [test for spot in spots for test in _tests(spot, reference)]


def _tests(spot: Spot, reference: str) -> Iterator[ReferenceTest]:
    base = spot.row(reference)
    for row in spot.rows:
        if base is None or row is base:
            continue
        for measure in TESTED:
            result = paired(row.by_seed(measure), base.by_seed(measure))
            if result is not None:
                yield ReferenceTest(spot, row.label, reference, measure, result)
