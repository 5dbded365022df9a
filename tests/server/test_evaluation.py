"""MA and ASR as SPEC F.1 defines them, and what the plan refuses or prepares."""

from __future__ import annotations

import math

import pytest
import torch

from config.load import load
from learning.evaluation import attack_metrics, clean_metrics
from server_app.evaluation import Evaluator, evaluation_split
from server_app.plan import Plan
from server_app.run import max_examples


def test_asr_leaves_the_target_class_out() -> None:
    labels = torch.tensor([1, 1, 2, 2])
    found = attack_metrics(torch.tensor([0, 0, 0, 2]), torch.tensor([1, 0, 2, 2]), labels, 0, 3)
    assert found.asr == pytest.approx(75.0)
    assert found.base_rate == pytest.approx(25.0)
    assert found.asr_correct == pytest.approx(100.0 * 2 / 3)
    assert found.robust_accuracy == pytest.approx(25.0)
    assert found.confusion == ((0, 0, 0), (2, 0, 0), (1, 0, 1))


def test_a_target_image_in_the_triggered_set_is_an_error() -> None:
    labels = torch.tensor([0, 1])
    with pytest.raises(ValueError, match="target-class images"):
        attack_metrics(labels, labels, labels, 0, 2)


def test_a_perfect_clean_model_has_no_asr() -> None:
    labels = torch.tensor([1, 2, 3] * 5)
    assert attack_metrics(labels, labels, labels, 0, 4).asr == 0.0


def test_recall_of_an_empty_class_is_unknown() -> None:
    found = clean_metrics(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), 3)
    assert found.accuracy == pytest.approx(200 / 3)
    assert found.recall[:2] == (50.0, 100.0)
    assert math.isnan(found.recall[2])


def test_nothing_correct_means_no_asr_among_correct() -> None:
    found = attack_metrics(torch.tensor([0]), torch.tensor([2]), torch.tensor([1]), 0, 3)
    assert math.isnan(found.asr_correct)


class TestEvaluator:
    settings = {"task.test_samples": 300, "task.train_samples": 500, "federation.clients": 5}  # noqa: RUF012

    def build(self, **more: str) -> tuple[Plan, Evaluator]:
        plan = Plan.make(load({**self.settings, **{k.replace("__", "."): v for k, v in more.items()}}))
        return plan, Evaluator.build(plan.config, plan.data, plan.attack, plan.device)

    def test_triggered_images_are_those_kept(self) -> None:
        _, evaluator = self.build()
        assert evaluator.triggered is not None
        assert not bool((evaluator.labels[evaluator.kept] == 0).any())
        clean = evaluator.images[evaluator.kept].float() / 255
        differs = (clean != evaluator.triggered).any(dim=1).any(dim=0)
        assert int(differs.sum()) <= 9
        assert bool((evaluator.triggered[:, :, -3:, -3:] == 1).all())

    def test_no_attack_no_triggered_set(self) -> None:
        plan, evaluator = self.build(attack__name="none")
        assert evaluator.triggered is None
        assert evaluator.measure(plan.model()).attack is None

    def test_features_hold_both_kinds(self) -> None:
        plan, evaluator = self.build()
        features, labels, mask = evaluator.features(plan.model(), 1)
        assert len(features) == len(labels) == len(mask)
        assert 0 < int(mask.sum()) < len(mask)
        assert not bool((labels[mask] == 0).any())


def test_the_test_split_is_measured_only_when_asked() -> None:
    small = {"task.train_samples": 500, "federation.clients": 5}
    tests = Plan.make(load(small))
    choice = Plan.make(load(small | {"task.eval_split": "validation"}))
    test_images = {bytes(image.numpy()) for image in evaluation_split(tests.config, tests.data).images}
    choice_images = {bytes(image.numpy()) for image in evaluation_split(choice.config, choice.data).images}
    train_images = {bytes(image.numpy()) for image in tests.data.train.images}
    assert len(choice_images) > 1900
    assert not choice_images & test_images
    assert not choice_images & train_images
    assert not test_images & train_images


def test_believed_examples_are_ten_fair_shares() -> None:
    plan = Plan.make(load({"task.train_samples": 505, "federation.clients": 5}))
    assert max_examples(plan) == 1010
