"""Numbers are declared once, and everything that shows them reads the declaration."""

from __future__ import annotations

from fedcrucible_core.records.numbers import Number, numbers_of
from fedcrucible_core.records.schema import RATES, Detection, RoundRecord, RunSummary
from fedcrucible_core.reports.statistics.measures import MEASURES, PARTS


def test_rates_are_declared_alike_for_a_round_and_for_a_runs_end() -> None:
    assert list(RATES)[:3] == ["ma_percent", "asr_percent", "base_rate_percent"]
    for model in (RoundRecord, RunSummary):
        assert {field: numbers_of(model)[field] for field in RATES} == RATES


def test_no_two_numbers_share_a_column() -> None:
    parts = (RunSummary, Detection, *PARTS.values())
    declared = [number for part in parts for number in numbers_of(part).values()]
    assert len({number.column for number in declared}) == len(declared)
    assert {number.column for number in declared} <= set(MEASURES)


def test_a_heading_has_the_unit() -> None:
    assert Number("MA", "MA").heading == "MA (%)"
    assert Number("n", "count", "").heading == "count"


def test_lines_of_a_record_keep_their_order() -> None:
    """metrics.jsonl is compared byte by byte."""
    assert list(RoundRecord.model_fields)[:7] == [
        "round", "stage", "ma_percent", "asr_percent", "base_rate_percent", "asr_correct_percent",
        "robust_accuracy_percent",
    ]  # fmt: skip


def test_asr_minus_base_rate_needs_both() -> None:
    assert RoundRecord(round=1, asr_percent=9.0, base_rate_percent=2.0).net_asr_percent == 7.0
    assert RoundRecord(round=1, asr_percent=9.0).net_asr_percent is None
