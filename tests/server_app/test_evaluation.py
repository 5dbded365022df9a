"""MA and ASR (target class left out), and what the plan refuses or prepares."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from PIL import Image

from fedcrucible_core.config.load import load
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.learning.evaluation import attack_metrics, clean_metrics
from server_app.evaluation import Evaluator
from server_app.plan import Plan
from server_app.strategy_of import max_examples


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


def test_inputs_that_exist_in_one_form_have_no_base_rate() -> None:
    found = attack_metrics(torch.tensor([0, 1]), None, torch.tensor([1, 1]), 0, 2)
    assert (found.asr, found.robust_accuracy) == (50.0, 50.0)
    assert found.base_rate is None
    assert found.asr_correct is None


def test_nothing_correct_means_no_asr_among_correct() -> None:
    found = attack_metrics(torch.tensor([0]), torch.tensor([2]), torch.tensor([1]), 0, 3)
    assert found.asr_correct is not None
    assert math.isnan(found.asr_correct)


class TestEvaluator:
    settings = {"task.test_samples": 300, "task.train_samples": 500, "federation.clients": 5}  # noqa: RUF012

    def build(self, **more: Scalar) -> tuple[Plan, Evaluator]:
        plan = Plan.make(load({**self.settings, **{k.replace("__", "."): v for k, v in more.items()}}))
        return plan, Evaluator.build(plan.config, plan.data, plan.adversary.poisoner, plan.device)

    def test_triggered_images_are_those_kept(self) -> None:
        _, evaluator = self.build()
        assert evaluator.attacked is not None
        triggered, labels, rows = evaluator.attacked.inputs, evaluator.attacked.labels, evaluator.attacked.rows
        assert rows is not None
        assert not bool((labels == 0).any())
        assert torch.equal(evaluator.labels[rows], labels)
        clean = evaluator.images[rows].float() / 255
        differs = (clean != triggered).any(dim=1).any(dim=0)
        assert int(differs.sum()) <= 9
        assert bool((triggered[:, :, -3:, -3:] == 1).all())

    @pytest.mark.parametrize("name", ["none", "label-flip"])
    def test_without_a_target_no_success_is_measured(self, name: str) -> None:
        plan, evaluator = self.build(attack__name=name)
        assert evaluator.attacked is None
        assert evaluator.measure(plan.model()).attack is None
        assert not bool(evaluator.features(plan.model(), 1)[2].any())

    @pytest.mark.parametrize("name", ["semantic", "edge-case", "label-flip"])
    def test_natural_attacks_are_measured_on_their_own_inputs_without_base_rate(self, name: str) -> None:
        own = {"attack__label-flip__mode": "source-target", "attack__semantic__source_class": 9}
        plan, evaluator = self.build(attack__name=name, attack__semantic__share=0.5, **own)
        assert evaluator.attacked is not None
        assert set(evaluator.attacked.labels.tolist()) == {9}
        found = evaluator.measure(plan.model()).attack
        assert found is not None
        assert found.base_rate is None
        assert found.asr_correct is None
        assert 0.0 <= found.asr <= 100.0
        assert sum(map(sum, found.confusion)) == len(evaluator.attacked.labels)
        features, labels, mask = evaluator.features(plan.model(), 1)
        assert 0 < int(mask.sum()) < len(features)
        assert set(labels[mask].tolist()) == {9}

    def test_inputs_from_a_folder_are_measured_and_not_mixed_with_test_images(self, tmp_path: Path) -> None:
        for part in ("train", "test"):
            (tmp_path / part).mkdir()
            for shade in (50, 60):
                Image.new("L", (28, 28), shade).save(tmp_path / part / f"{shade}.png")
        plan, evaluator = self.build(**{"attack__name": "edge-case", "attack__edge-case__folder": str(tmp_path)})
        found = evaluator.measure(plan.model()).attack
        assert found is not None
        assert sum(map(sum, found.confusion)) == 2
        assert len(evaluator.features(plan.model(), 1)[0]) == 300
        assert not bool(evaluator.features(plan.model(), 1)[2].any())

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
    test_images = {bytes(image.numpy()) for image in tests.data.measured(tests.config.task.eval_split).inputs}
    choice_images = {bytes(image.numpy()) for image in choice.data.measured(choice.config.task.eval_split).inputs}
    train_images = {bytes(image.numpy()) for image in tests.data.train.inputs}
    assert len(choice_images) > 1900
    assert not choice_images & test_images
    assert not choice_images & train_images
    assert not test_images & train_images


def test_believed_examples_are_ten_fair_shares() -> None:
    plan = Plan.make(load({"task.train_samples": 505, "federation.clients": 5}))
    assert max_examples(plan) == 1010
