"""A paper's numbers beside ours: which of ours, and drops seed by seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedcrucible.comparison.tables.matrix_spots import with_ours
from fedcrucible_core.records.reader import RecordedRun
from fedcrucible_core.records.schema import RoundRecord, RunDescription
from fedcrucible_core.records.summary import summarize
from fedcrucible_core.reports.statistics.printed import Printed
from fedcrucible_core.reports.statistics.rows import Row, is_undefended

DROP, ASR = Printed("ACC drop", 3.14, "client_ma_last3", drop=True), Printed("ASR", 72.42, "client_asr_last3")


def run(seed: int, acc: float, rule: str = "fedavg", splitter: str = "none", repair: str = "") -> RecordedRun:
    described = RunDescription(strategy="fm-fl", attack="bd-fmfl", seed=seed, rule=rule, repair=repair)
    facts = {"clients.ma_mean_percent": acc, "clients.asr_mean_percent": 90.0, "synthetic.poisoned": 5.0}
    rounds = (RoundRecord(round=1, ma_percent=acc, asr_percent=90.0, facts=facts),)
    summary = summarize(described, rounds)
    config = {"splitter.name": splitter, "synthetic.sanitizer": "drop"}
    return RecordedRun(Path(f"{rule}-{seed}"), described, rounds, summary, finished=True, config=config)


def test_a_drop_is_below_the_undefended_run_of_the_same_seed() -> None:
    plain = Row(label="undefended", runs=(run(1, 80.0), run(2, 90.0)))
    krum = Row(label="Krum", runs=(run(1, 78.0, "krum"), run(2, 86.0, "krum"), run(3, 10.0, "krum")), paper=(DROP, ASR))
    drop, asr = with_ours(krum, [plain, krum])
    assert drop.ours is not None
    assert drop.ours.mean == pytest.approx(3.0)
    assert drop.ours.count == 2
    assert asr.ours is not None
    assert (asr.ours.mean, asr.ours.count) == (90.0, 3)
    assert (drop.value, asr.value) == (3.14, 72.42)


def test_without_an_undefended_row_there_is_no_drop() -> None:
    krum = Row(label="Krum", runs=(run(1, 78.0, "krum"),), paper=(DROP,))
    (drop,) = with_ours(krum, [krum])
    assert drop.ours is None


def test_a_sanitized_run_is_not_undefended() -> None:
    assert is_undefended(run(1, 80.0))
    assert not is_undefended(run(1, 80.0, splitter="cgd-entropy"))
    assert not is_undefended(run(1, 80.0, repair="pruning"))


def test_an_attack_on_the_data_is_one_without_any_malicious_client() -> None:
    row = Row(label="undefended", runs=(run(1, 80.0),))
    assert row.attacked
    assert not row.flaw
