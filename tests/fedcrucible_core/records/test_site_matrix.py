"""The site matrix: what each site says the model is worth to it, round by round."""

from __future__ import annotations

from fedcrucible_core.records.schema import RoundRecord, RunDescription
from fedcrucible_core.records.site_matrix import site_matrix
from fedcrucible_core.records.summary import summarize
from tests.support.site_rounds import site_rounds


def test_cells_are_told_apart() -> None:
    matrix = site_matrix(site_rounds(), {2: "hospital-c"})
    assert matrix.rounds == (1, 2, 4)
    assert [row.site for row in matrix.sites] == [0, 1, 2, 3]
    assert [row.state for row in matrix.sites] == [
        ("measured", "measured", "measured"),
        ("measured", "dropped", "measured"),
        ("absent", "not-asked", "measured"),
        ("absent", "not-asked", "excluded"),
    ]
    first, second, third, _ = matrix.sites
    assert first.ma_percent == (50.0, 60.0, 70.0)
    assert (first.asr_percent, first.asr_allowed) == ((10.0, 20.0, 30.0), True)
    assert (second.ma_percent, second.causes) == ((40.0, None, 44.0), {"2": "accuracy-percent is 400.0"})
    assert (second.asr_percent, second.asr_allowed) == ((None, None, None), False)
    assert (third.name, third.examples, third.last_round) == ("hospital-c", 9, 4)


def test_the_worst_site_and_the_gap_are_of_each_sites_last_word() -> None:
    matrix = site_matrix(site_rounds())
    assert (matrix.worst_site, matrix.ma_worst_percent, matrix.ma_gap_points) == (1, 44.0, 46.0)
    assert matrix.dropped == 1


def test_the_summary_says_the_same() -> None:
    clients = summarize(RunDescription(strategy="fedavg", seed=1), site_rounds()).clients
    assert clients is not None
    assert (clients.worst_client, clients.answers_dropped) == (1, 1)
    assert clients.ma_by_client_percent == {"0": 70.0, "1": 44.0, "2": 90.0}
    assert clients.ma_spread_percent == 18.8


def test_a_repaired_model_is_the_last_column() -> None:
    said = {"0": {"examples": 5.0, "ma_percent": 33.0}}
    repair = RoundRecord(round=5, stage="repair", client_metrics=said, facts={"clients.measured": 1.0})
    matrix = site_matrix([*site_rounds(), repair])
    assert (matrix.rounds, matrix.repaired) == ((1, 2, 4, 5), True)
    assert matrix.worst_site == 0


def test_a_run_that_asked_nobody_has_none() -> None:
    matrix = site_matrix([RoundRecord(round=0), RoundRecord(round=1)])
    assert (matrix.rounds, matrix.sites, matrix.worst_site, matrix.ma_gap_points) == ((), (), None, None)


def test_no_answer_at_all_is_no_number() -> None:
    lost = RoundRecord(round=1, evaluations_dropped={"0": "no reply in time"}, facts={"clients.measured": 0.0})
    matrix = site_matrix([lost])
    assert (matrix.worst_site, matrix.sites[0].last_round, matrix.sites[0].asr_allowed) == (None, None, None)
