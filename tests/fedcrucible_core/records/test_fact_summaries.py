"""Summaries of facts: clients' own measurements, the synthetic data, the prototypes."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedcrucible_core.records.reader import RecordedRun
from fedcrucible_core.records.schema import RoundRecord, RunDescription, RunSummary
from fedcrucible_core.records.summary import summarize
from fedcrucible_core.reports.statistics.measures import measured

RUN = RunDescription(strategy="fm-fl", attack="bd-fmfl", seed=1)


def asked(round: int, ma: float, asr: float | None = None, stage: str = "training") -> RoundRecord:
    facts = {"clients.ma_mean_percent": ma, "clients.ma_spread_percent": 1.0, "clients.ma_worst_percent": ma - 5}
    if asr is not None:
        facts |= {"clients.asr_mean_percent": asr, "clients.asr_worst_percent": asr + 5}
    return RoundRecord(round=round, stage=stage, ma_percent=ma + 1, asr_percent=asr, facts=facts)  # type: ignore[arg-type]


def test_the_last_asked_round_and_the_mean_of_three() -> None:
    quiet = RoundRecord(round=5, facts={"clusters": 2.0})
    found = summarize(RUN, [asked(i, 80.0 + i, 10.0 * i) for i in range(5)] + [quiet]).clients
    assert found is not None
    assert (found.ma_mean_percent, found.ma_spread_percent, found.ma_worst_percent) == (84.0, 1.0, 79.0)
    assert (found.asr_mean_percent, found.asr_spread_percent, found.asr_worst_percent) == (40.0, None, 45.0)
    assert found.ma_last_three_mean_percent == pytest.approx(83.0)
    assert found.asr_last_three_mean_percent == pytest.approx(30.0)


def test_fewer_than_three_rounds_are_averaged_as_they_are() -> None:
    found = summarize(RUN, [asked(1, 80.0), asked(2, 82.0, 6.0)]).clients
    assert found is not None
    assert found.ma_last_three_mean_percent == pytest.approx(81.0)
    assert found.asr_last_three_mean_percent == pytest.approx(6.0)


def test_a_repaired_model_has_no_number_of_the_model_before_it() -> None:
    before = [asked(1, 80.0, 90.0), asked(2, 80.0, 90.0)]
    unasked = summarize(RUN, [*before, RoundRecord(round=3, stage="repair", ma_percent=70.0)])
    assert unasked.clients is None
    of_it = summarize(RUN, [*before, asked(3, 70.0, 20.0, "repair")]).clients
    assert of_it is not None
    assert of_it.asr_last_three_mean_percent == 20.0


def test_the_servers_own_rates_have_a_mean_of_three_too() -> None:
    found = summarize(RUN, [RoundRecord(round=i, ma_percent=80.0 + i, asr_percent=float(i)) for i in range(6)])
    assert found.ma_last_three_mean_percent == pytest.approx(84.0)
    assert found.asr_last_three_mean_percent == pytest.approx(4.0)
    assert found.asr_last_mean_percent == pytest.approx(3.0), "round 0 is the model before training"


def test_poison_and_prototypes_come_from_the_rounds_that_tell() -> None:
    first = RoundRecord(
        round=0, facts={"synthetic.poisoned": 154.0, "synthetic.survivors": 5.0, "pretrained.computed": 9.0}
    )
    groups = [RoundRecord(round=i, facts={"groups.averaged": 2.0}) for i in (1, 2)]
    found = summarize(RUN, [first, *groups])
    assert found.sanitizer is not None
    assert found.prototypes is not None
    assert (found.sanitizer.poisoned, found.sanitizer.survivors, found.sanitizer.caught_percent) == (154, 5, None)
    assert (found.prototypes.computed, found.prototypes.cached, found.prototypes.averaged) == (9, None, 4)


def test_a_run_without_them_writes_nothing_of_them() -> None:
    plain = summarize(RUN, [RoundRecord(round=1, ma_percent=50.0)])
    assert not {"clients", "sanitizer", "prototypes"} & set(plain.model_dump())
    assert RunSummary.model_validate_json(plain.model_dump_json()).clients is None


def test_compare_reads_them_by_column() -> None:
    rounds = (asked(1, 80.0, 30.0), RoundRecord(round=2, facts={"synthetic.survivors": 3.0}))
    run = RecordedRun(Path("x"), RUN, rounds, summarize(RUN, rounds), finished=True)
    columns = (
        "client_ma",
        "client_ma_worst",
        "client_asr_last3",
        "survivors",
        "poisoned",
        "groups_averaged",
        "asr_last3",
    )
    assert [measured(run, column) for column in columns] == [80.0, 75.0, 30.0, 3.0, None, None, 30.0]
