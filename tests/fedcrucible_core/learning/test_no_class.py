"""A prediction whose logits aren't finite is no class: never right, never a hit, whatever the target."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from defenses.kernels.votes import vote_bounds, winners
from defenses.smoothing import noisy_votes
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.foundation.base import Guide
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.evaluation import (
    NO_CLASS,
    attack_metrics,
    classes_of,
    clean_metrics,
    not_finite_percent,
    predict,
)
from fedcrucible_core.learning.models import MODELS, SplitModel

CPU = torch.device("cpu")
INFO = DataInfo("tiny", ("a", "b", "c"), (1, 8, 8), (0.5,), (0.5,))


def model(value: float | None = None) -> SplitModel:
    made = MODELS.create("logistic").build(INFO, 1)
    if value is not None:
        with torch.no_grad():
            made.classifier.bias[1] = value
    return made


def images(count: int = 6) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def test_rows_that_are_not_finite_have_no_class() -> None:
    nan, inf = float("nan"), float("inf")
    logits = torch.tensor([[1.0, 3.0, 2.0], [nan, 0.0, 0.0], [0.0, inf, 0.0], [0.0, 0.0, -inf], [nan, nan, nan]])
    assert classes_of(logits).tolist() == [1, NO_CLASS, NO_CLASS, NO_CLASS, NO_CLASS]
    assert classes_of(logits.half()).tolist() == [1, NO_CLASS, NO_CLASS, NO_CLASS, NO_CLASS]
    assert not_finite_percent(classes_of(logits)) == 80.0
    assert not_finite_percent(torch.empty(0, dtype=torch.int64)) == 0.0


def test_finite_rows_are_as_argmax_says() -> None:
    logits = torch.randn(200, 10, generator=torch.Generator().manual_seed(1))
    assert torch.equal(classes_of(logits), logits.argmax(1))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_model_with_such_outputs_predicts_nothing(value: float) -> None:
    assert predict(model(value), images(), 4, CPU).tolist() == [NO_CLASS] * 6


@pytest.mark.parametrize("target", [0, 1, 2])
def test_it_has_no_accuracy_and_no_backdoor_whatever_the_target(target: int) -> None:
    labels = torch.tensor([c for c in range(3) if c != target] * 3)
    none = torch.full_like(labels, NO_CLASS)
    found = attack_metrics(none, none, labels, target, 3)
    assert (found.asr, found.base_rate, found.robust_accuracy) == (0.0, 0.0, 0.0)
    assert math.isnan(found.asr_correct or 0.0)
    assert [sum(row) for row in found.confusion] == [0 if c == target else 3 for c in range(3)]
    assert [row[3] for row in found.confusion] == [sum(row) for row in found.confusion], "a column of its own"
    clean = clean_metrics(none, labels, 3)
    assert clean.accuracy == 0.0
    assert [r for r in clean.recall if not math.isnan(r)] == [0.0, 0.0]


def test_confusion_of_a_healthy_model_has_no_further_column() -> None:
    found = attack_metrics(torch.tensor([0, 2]), torch.tensor([1, 2]), torch.tensor([1, 2]), 0, 3)
    assert found.confusion == ((0, 0, 0), (1, 0, 0), (0, 0, 1))


def test_a_copy_without_an_answer_votes_for_nobody() -> None:
    broken = model(float("nan"))
    votes = noisy_votes(broken, [images()], 0.1, 5, torch.Generator().manual_seed(1), 4, CPU)[0]
    assert votes.sum() == 0
    assert winners(votes, 5).tolist() == [NO_CLASS] * 6


def test_no_class_wins_a_vote_like_any_other() -> None:
    votes = torch.tensor([[1, 2, 0], [0, 5, 1], [3, 3, 0], [2, 1, 1]])
    assert winners(votes, 6).tolist() == [NO_CLASS, 1, 0, 0], "3, 0, 0 and 2 of six copies abstain"
    lower, _ = vote_bounds(votes, 0.05, 6)
    assert float(lower[0]) == pytest.approx(max(0.0, 3 / 6 - math.sqrt(math.log(20) / 12)))
    full = torch.tensor([[4, 2, 0]])
    assert all(torch.equal(a, b) for a, b in zip(vote_bounds(full, 0.05), vote_bounds(full, 0.05, 6), strict=True))


class Blind(Guide):
    """A guide whose similarities are all NaN."""

    def text_embeddings(self, class_names: Sequence[str]) -> Tensor:
        return torch.full((len(class_names), 4), float("nan"))

    def embeddings(self, pixels: Tensor) -> Tensor:
        return torch.ones(len(pixels), 4)

    def logits(self, found: Tensor, texts: Tensor) -> Tensor:
        return found @ texts.T


@pytest.mark.parametrize("target", [0, 3])
def test_a_dead_model_and_a_blind_guide_are_told_by_the_evaluator(target: int) -> None:
    from fedcrucible_core.config.load import load
    from fedcrucible_core.records.schema import NOT_FINITE, TRIGGERED_NOT_FINITE
    from server_app.evaluation import Evaluator
    from server_app.plan import Plan

    settings: dict[str, Scalar] = {
        "task.train_samples": 60,
        "task.test_samples": 40,
        "federation.clients": 2,
        "model.name": "cnn",
    }
    plan = Plan.make(load({**settings, "poison.target_label": target, "strategy": "fedavg", "partition.name": "iid"}))
    evaluator = Evaluator.build(plan.config, plan.data, plan.adversary.poisoner, CPU)
    dead = plan.model()
    assert evaluator.measure(dead).facts == {}
    with torch.no_grad():
        next(dead.parameters()).fill_(float("nan"))
    for measured in (evaluator.measure(dead), evaluator.measure_zero_shot(Blind(), plan.data.info.class_names)):
        assert measured.clean.accuracy == 0.0
        assert measured.attack is not None
        assert (measured.attack.asr, measured.attack.base_rate) == (0.0, 0.0)
        assert measured.facts == {NOT_FINITE: 100.0, TRIGGERED_NOT_FINITE: 100.0}
