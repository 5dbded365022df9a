from __future__ import annotations

import pytest

from fedcrucible_core.records.detection import detection, pooled_detection
from fedcrucible_core.records.intervals import wilson_of_rate, wilson_percent
from fedcrucible_core.records.schema import RoundRecord, RunDescription
from fedcrucible_core.records.summary import summarize


@pytest.mark.parametrize(
    ("hits", "low", "high"), [(0, 0.0, 0.043), (90, 0.81, 1.23), (180, 1.73, 2.31)], ids=["none", "1 %", "2 %"]
)
def test_wilson_gives_the_worked_numbers(hits: int, low: float, high: float) -> None:
    found = wilson_percent(hits, 9000)
    assert found[0] == pytest.approx(low, abs=0.005)
    assert found[1] == pytest.approx(high, abs=0.005 if hits else 0.0005)


def test_wilson_is_mirrored_and_stays_within_0_and_100() -> None:
    low, high = wilson_percent(3, 50)
    assert wilson_percent(47, 50) == pytest.approx((100 - high, 100 - low))
    assert wilson_percent(50, 50)[1] == 100.0
    assert wilson_of_rate(None, 10) is None
    assert wilson_of_rate(2.0, 0) is None
    assert wilson_of_rate(1.0, 9000) == wilson_percent(90, 9000)
    with pytest.raises(ValueError, match="11 of 10"):
        wilson_percent(11, 10)


def judged(number: int, accepted: list[int], rejected: list[int], malicious: list[int], active: bool) -> RoundRecord:
    return RoundRecord(
        round=number,
        accepted=tuple(accepted),
        rejected=tuple(rejected),
        malicious=tuple(malicious),
        attack_active=active,
        weights={str(i): (0.0 if i in rejected else 1.0 / len(accepted)) for i in sorted(accepted + rejected)},
    )


def test_detection_is_pooled_by_counts() -> None:
    rounds = [
        judged(1, [0, 1, 2], [8, 9], [8, 9], True),  # TP 2, TN 3
        judged(2, [0, 8], [1, 9], [8, 9], True),  # TP 1, FN 1, FP 1, TN 1
        judged(3, [0, 1, 2], [3], [], True),  # FP 1, TN 3: no attacker was sampled
        judged(4, [8, 9], [0], [8, 9], False),  # FP 1, TN 2: attackers train honestly
    ]
    found = pooled_detection(rounds)
    assert found is not None
    counts = (found.true_positives, found.false_negatives, found.false_positives, found.true_negatives)
    assert counts == (3, 1, 3, 9)
    assert found.tpr_percent == pytest.approx(75.0)
    assert found.fpr_percent == pytest.approx(25.0)
    assert found.precision_percent == pytest.approx(50.0)
    assert found.f1_percent == pytest.approx(60.0)


def test_rates_without_a_denominator_are_none() -> None:
    found = detection([0, 1], [], [])
    assert (found.tpr_percent, found.fpr_percent, found.precision_percent, found.f1_percent) == (None, 0.0, None, None)
    assert pooled_detection([RoundRecord(round=0)]) is None


def test_summary_takes_last_ten_evaluated_rounds_and_the_attack_window() -> None:
    run = RunDescription(
        strategy="s", attack="a", seed=3, test_images=10_000, triggered_images=9_000, attack_start_round=2,
        attack_stop_round=10,
    )  # fmt: skip
    rounds = [
        RoundRecord(round=r, ma_percent=50.0 + r, asr_percent=90.0 if r == 0 else 5.0 * r, base_rate_percent=1.0,
                    dropped={"1": "late"} if r in {2, 3} else {}, seconds={"train": 2.0})
        for r in range(13)
    ]  # fmt: skip
    rounds.append(RoundRecord(round=13, notes=("not evaluated",), seconds={"train": 2.0}))
    found = summarize(run, rounds)
    assert found.rounds == 13
    assert (found.ma_percent, found.asr_percent, found.net_asr_percent) == (62.0, 60.0, 59.0)
    assert found.last_rounds == 10
    assert found.ma_last_mean_percent == pytest.approx(sum(range(53, 63)) / 10)
    assert (found.asr_max_percent, found.asr_max_round) == (60.0, 12)
    assert found.rounds_asr_above_20_percent == 8
    assert found.asr_after_stop_mean_percent == pytest.approx(57.5)
    assert found.dropped == {"late": 2}
    assert found.seconds_total == pytest.approx(28.0)
    assert found.asr_interval_percent == wilson_percent(5400, 9000)
    assert found.detection is None


def test_summary_of_nothing_is_empty_but_valid() -> None:
    found = summarize(RunDescription(strategy="s", seed=1), [])
    assert found.ma_percent is None
    assert found.ma_interval_percent is None
    assert found.rounds == 0


def test_malicious_weight_counts_attack_rounds_only() -> None:
    rounds = [judged(1, [0, 1, 8], [9], [8, 9], True), judged(2, [0, 8], [], [8], False)]
    found = summarize(RunDescription(strategy="s", seed=1), rounds)
    assert found.malicious_weight_percent == pytest.approx(100 / 3)
