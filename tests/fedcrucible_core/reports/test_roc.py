"""Detection curves from known scores, against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from fedcrucible_core.records.schema import RoundRecord
from fedcrucible_core.reports.statistics.roc import curve, roc


def judged(number: int, scores: list[float], malicious: list[int], active: bool = True) -> RoundRecord:
    return RoundRecord(
        round=number,
        weights={str(i): 1.0 / len(scores) for i in range(len(scores))},
        malicious=tuple(malicious),
        attack_active=active,
        per_client={"score": scores},
    )


def test_perfect_reversed_and_useless_scores() -> None:
    perfect = roc([judged(1, [0.1, 0.2, 5.0, 6.0], [2, 3])])
    assert perfect is not None
    assert perfect.auroc == 1.0
    assert (perfect.fpr, perfect.tpr) == ((0.0, 0.0, 0.0, 0.5, 1.0), (0.0, 0.5, 1.0, 1.0, 1.0))
    reverse = roc([judged(1, [0.1, 0.2, 5.0, 6.0], [0, 1])])
    assert reverse is not None
    assert reverse.auroc == 0.0
    useless = roc([judged(1, [3.0, 3.0, 3.0, 3.0], [0, 1])])
    assert useless is not None
    assert useless.auroc == 0.5
    assert useless.fpr == (0.0, 1.0)


def test_one_pair_in_four_wrong() -> None:
    """Malicious 3 and 1, honest 2 and 0: three of four pairs are in order."""
    found = roc([judged(1, [3.0, 1.0, 2.0, 0.0], [0, 1])])
    assert found is not None
    assert found.auroc == pytest.approx(0.75)
    assert (found.malicious, found.honest) == (2, 2)


def test_the_curve_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth = rng.random(60) < 0.3
        scores = np.round(rng.normal(truth * 1.0, 1.0), 1)  # with ties
        found = curve(scores, truth)
        assert found is not None
        assert found.auroc == pytest.approx(roc_auc_score(truth, scores))
        fpr, tpr, _ = roc_curve(truth, scores, drop_intermediate=False)
        np.testing.assert_allclose(found.fpr, fpr)
        np.testing.assert_allclose(found.tpr, tpr)


def test_a_change_of_scale_between_rounds_does_not_matter() -> None:
    """The second round's scores are a thousand times larger; within each round the attacker is on top."""
    found = roc([judged(1, [1.0, 2.0, 9.0], [2]), judged(2, [1000.0, 9000.0, 2000.0], [1])])
    assert found is not None
    assert found.auroc == 1.0


def test_rounds_without_attack_count_their_clients_as_honest() -> None:
    quiet = judged(2, [1.0, 2.0, 9.0], [2], active=False)
    found = roc([judged(1, [1.0, 2.0, 9.0], [2]), quiet])
    assert found is not None
    assert (found.malicious, found.honest) == (1, 5)
    assert found.auroc == pytest.approx((4 + 0.5) / 5)
    assert roc([quiet]) is None


def test_rounds_whose_scores_do_not_fit_are_left_out() -> None:
    broken = RoundRecord(round=1, weights={"0": 1.0, "1": 0.0}, malicious=(0,), attack_active=True,
                         per_client={"score": [1.0]})  # fmt: skip
    unmeasured = judged(2, [float("nan"), 1.0], [0])
    assert roc([broken, unmeasured]) is None
    assert roc([]) is None
    assert roc([RoundRecord(round=1, weights={"0": 1.0}, malicious=(0,), attack_active=True)]) is None
