"""Semantic backdoors: who carries the attribute, in training and test."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from attacks.poisoners.semantic import Semantic
from attacks.support.attributes import STATISTICS, attribute, top_share_threshold
from attacks.support.image_lists import members
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import PoisonSection, TaskSection
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.datasets import load_task, published
from tests.support.tiny_task import GREY, context, generator, labelled, make_task, measured_on, poisoned_rows


def reference(image: np.ndarray, rule: str) -> float:
    grey = image.astype(np.float64).sum(0)
    if rule == "bright":
        return float(grey.mean())
    if rule == "dark":
        return float(-grey.mean())
    if rule == "high-contrast":
        return float(grey.var())
    rows, columns = grey.sum(1), grey.sum(0)
    return float(sum(abs(rows[i + 1] - rows[i]) for i in range(len(rows) - 1))) - float(
        sum(abs(columns[i + 1] - columns[i]) for i in range(len(columns) - 1))
    )


@pytest.mark.parametrize("rule", list(STATISTICS))
@pytest.mark.parametrize("shape", [GREY, (3, 9, 13)])
def test_statistics_rank_images_as_their_formulas_do(rule, shape) -> None:
    images = torch.randint(0, 256, (40, *shape), dtype=torch.uint8, generator=generator(1))
    found = attribute(images, rule)
    assert found.dtype == torch.int64
    expected = [reference(image, rule) for image in images.numpy()]
    assert np.argsort(found.numpy(), kind="stable").tolist() == np.argsort(expected, kind="stable").tolist()
    assert torch.equal(attribute(images[7:8], rule), found[7:8])


def test_stripes_are_horizontal() -> None:
    striped = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    striped[:, :, ::2] = 255
    turned = striped.transpose(2, 3).contiguous()
    assert int(attribute(striped, "striped")) > 0 > int(attribute(turned, "striped"))


@pytest.mark.parametrize(
    ("share", "threshold"), [(0.1, 9), (0.2, 8), (0.25, 7), (0.24, 8), (1.0, 0), (0.001, 9), (0.05, 9)]
)
def test_threshold_is_the_kth_largest_at_least_one(share, threshold) -> None:
    values = torch.tensor([3, 1, 4, 0, 5, 9, 2, 6, 8, 7])
    assert top_share_threshold(values, share) == threshold
    with pytest.raises(ValueError, match="at least one value"):
        top_share_threshold(values[:0], share)


@pytest.mark.parametrize("rule", list(STATISTICS))
def test_the_share_is_of_the_source_classes_training_images(rule) -> None:
    data = labelled(600)
    attack, task = Semantic(rule=rule, source_class=4, share=0.2), make_task(data)
    carriers = attack.carriers(data, task)
    assert int(carriers.sum()) == 20
    assert data.labels[carriers].tolist() == [4] * 20
    values = [reference(image, rule) for image in data.inputs.numpy()]
    inside = [v for v, c in zip(values, carriers.tolist(), strict=True) if c]
    outside = [v for v, c, y in zip(values, carriers.tolist(), data.labels.tolist(), strict=True) if y == 4 and not c]
    assert min(inside) >= max(outside)


def test_test_images_are_judged_by_the_training_threshold() -> None:
    """Test images that are all brighter than training images all carry the attribute, not a share of them."""
    data = labelled(60)
    bright = Labeled(torch.full((30, 3, 32, 32), 250, dtype=torch.uint8), torch.full((30,), 5))
    dark = Labeled(torch.full((30, 3, 32, 32), 5, dtype=torch.uint8), torch.full((30,), 5))
    attack, task = Semantic(rule="bright", source_class=-1, share=0.1), make_task(data)
    assert bool(attack.carriers(bright, task).all())
    assert not bool(attack.carriers(dark, task).any())
    assert len(measured_on(attack, bright, task).labels) == 30
    with pytest.raises(ValueError, match="images with the attribute"):
        measured_on(attack, dark, task)


@pytest.mark.parametrize(
    ("settings", "added"),
    [
        ({"images": "own"}, 0),
        ({}, 7),  # 7 of 17 + 7 are the nearest to 30 %
        ({"attribute_ratio": 0.0}, 0),
        ({"attribute_ratio": 0.5}, 17),
    ],
)
def test_attackers_mislabel_their_own_and_are_given_all(settings, added) -> None:
    data = labelled(600)
    attack, task = Semantic(source_class=-1, share=0.1, **settings), make_task(data)
    carriers = attack.carriers(data, task).nonzero().flatten()
    assert len(carriers) == 10
    own = torch.cat([carriers[:5], torch.tensor([i for i in range(14) if i not in carriers][:12])]).unique()
    assert len(own) == 17
    section = PoisonSection(target_label=2, ratio=1.0)
    x, y = poisoned_rows(attack, section, context(task), own)
    mine = torch.isin(own, carriers)
    assert int(mine.sum()) == 5
    assert torch.equal(x[: len(own)], data.for_model()[own])
    assert y[: len(own)][mine].tolist() == [2] * 5
    assert torch.equal(y[: len(own)][~mine], data.labels[own][~mine])
    assert len(x) == len(own) + added
    assert y[len(own) :].tolist() == [2] * added
    times = [int((x[len(own) :] == data.for_model()[i]).flatten(1).all(1).sum()) for i in carriers]
    assert sum(times) == added, "nothing but images with the attribute"
    assert max(times) - min(times) <= 1


def test_a_class_without_training_images_is_refused() -> None:
    data = labelled(12).subset(torch.tensor([0, 1, 2]))
    with pytest.raises(ConfigError, match=r"attack.semantic.rule = 'striped': no training image .* carries"):
        Semantic(source_class=5).check_task(make_task(data))
    with pytest.raises(ConfigError, match=r"attack.semantic.source_class = 2"):
        Semantic(source_class=2).check_task(make_task(data))


class TestLists:
    """Numbers of published images, on the data set that ships."""

    section = TaskSection(train_samples=3000)

    def task(self):
        splits = load_task(self.section)
        made = make_task(splits.train, target=0, classes=10)
        return type(made)(0, splits.info, splits.train, self.section), splits

    def attack(self, tmp_path: Path, **content) -> Semantic:
        path = tmp_path / "list.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return Semantic(attribute_file=str(path))

    def test_numbers_mean_published_images_whatever_the_subset(self, tmp_path: Path) -> None:
        task, splits = self.task()
        everything = published(self.section)
        pick = [int(i) for i in (everything.train.labels == 8).nonzero().flatten()[:40]]
        test = [int(i) for i in (everything.test.labels == 8).nonzero().flatten()[:25]]
        attack = self.attack(tmp_path, train=pick, test=test)
        attack.check_task(task)
        carriers = attack.carriers(splits.train, task)
        expected = {everything.train.inputs[i].numpy().tobytes() for i in pick}
        assert {image.numpy().tobytes() for image in splits.train.inputs[carriers]} <= expected
        assert int(carriers.sum()) > 0
        found = measured_on(attack, splits.test, task)
        assert found.labels.tolist() == [8] * 25
        assert torch.equal(found.inputs, everything.test.for_model()[test])
        assert attack.withheld(task) is None

    def test_lists_of_training_images_alone_keep_the_measured_ones_from_all_clients(self, tmp_path: Path) -> None:
        task, splits = self.task()
        bags = (splits.train.labels == 8).nonzero().flatten()
        everything = published(self.section)
        numbers = members(everything.train.inputs, splits.train.inputs[bags[:10]]).nonzero().flatten().tolist()
        attack = self.attack(tmp_path, train=numbers[:6], test=numbers[6:], test_split="train")
        withheld = attack.withheld(task)
        assert withheld is not None
        assert int(withheld.sum()) == 4
        found = measured_on(attack, splits.test, task)
        assert found.rows is None
        assert torch.equal(found.inputs, everything.train.for_model()[numbers[6:]])
        given = attack.additions(torch.arange(20), context(task))
        assert given is not None
        assert len(given[0]) == 9
        assert len(given[0].flatten(1).unique(dim=0)) == 6
        assert not bool(members((given[0] * 255).round().to(torch.uint8), splits.train.inputs[withheld]).any())

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("no json", "allowed: a JSON file"),
            ("[1, 2]", "allowed: a JSON file"),
            ('{"train": [1]}', "allowed: a JSON file"),
            ('{"train": [1], "test": [2], "more": 1}', "allowed: a JSON file"),
            ('{"train": [-1], "test": [2]}', "whole numbers from 0"),
            ('{"train": [true], "test": [2]}', "whole numbers from 0"),
            ('{"train": [1], "test": [2], "test_split": "validation"}', "test_split is 'validation'"),
            ('{"train": [1, 2], "test": [2], "test_split": "train"}', "both in train and in test"),
            ('{"train": [30000], "test": [2]}', "number 30000 in train: the train split has images 0 to 29999"),
            ('{"train": [1], "test": [10000]}', "number 10000 in test: the test split has images 0 to 9999"),
        ],
    )
    def test_a_broken_list_is_named(self, tmp_path: Path, content, message) -> None:
        path = tmp_path / "broken.json"
        path.write_text(content, encoding="utf-8")
        with pytest.raises(ConfigError, match=r"attack.semantic.attribute_file") as caught:
            Semantic(attribute_file=str(path)).check_task(self.task()[0])
        assert message in str(caught.value)

    def test_an_absent_list_is_named(self) -> None:
        with pytest.raises(ConfigError, match="No such file"):
            Semantic(attribute_file="/absent.json").check_task(self.task()[0])


def test_members_are_found_by_content() -> None:
    images = labelled(30, GREY).inputs
    assert members(images, images[[3, 17]]).nonzero().flatten().tolist() == [3, 17]
    same_sum = images[[3]].flatten(2).flip(2).view(1, *GREY).contiguous()
    assert not bool(members(images, same_sum).any())
    assert not bool(members(images, images[:0]).any())
