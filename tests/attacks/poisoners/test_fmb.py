"""Mixtures of two images' halves: which images, how they are cut, and the noise beside them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from attacks.poisoner import PoisonContext
from attacks.poisoners.fmb import POOL, POOL_LABELS, Fmb
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import PoisonSection
from fedcrucible_core.learning.data import Labeled
from tests.support.tiny_task import CLASSES, context, generator, labelled, make_task

TARGET = 2


def prepared(fmb: Fmb, count: int = 60) -> PoisonContext:
    task = make_task(labelled(count), TARGET)
    return replace(context(task, None), artefact=fmb.prepare(task, generator(1)))


def halves(mixed: Tensor, image: Tensor) -> tuple[str, int] | None:
    """Which border-touching part of a mixture is the image's own, and how many rows or columns it has."""
    for axis, (low, high) in ((1, ("top", "bottom")), (2, ("left", "right"))):
        same = (mixed == image).all(dim=0).all(dim=2 - axis)  # by row or by column
        count = int(same.sum())
        if 0 < count < len(same):
            return (low, count) if bool(same[:count].all()) else (high, count)
    return None


def test_one_part_is_the_images_own_and_the_other_a_partners() -> None:
    fmb = Fmb()
    ctx = prepared(fmb)
    x, y = ctx.task.train.for_model(), ctx.task.train.labels
    pool, labels = ctx.artefact.tensors[POOL], ctx.artefact.tensors[POOL_LABELS]
    seen = set()
    for mixed, image, label in zip(fmb.stamp(x, y, ctx), x, y.tolist(), strict=True):
        found = halves(mixed, image)
        assert found is not None
        side, count = found
        assert 13 <= count <= 19, "16 of 32, give or take 3"
        seen.add((side, count))
        other = mixed != image
        partners = [int(c) for c, p in zip(labels, pool, strict=True) if torch.equal(mixed[other], p[other])]
        assert partners
        assert label not in partners
        assert TARGET not in partners
    assert {side for side, _ in seen} == {"top", "bottom", "left", "right"}
    assert len({count for _, count in seen}) > 3


def test_the_pool_holds_no_image_of_the_target() -> None:
    artefact = Fmb(pool=4).prepare(make_task(labelled(60), TARGET), generator())
    assert torch.bincount(artefact.tensors[POOL_LABELS], minlength=CLASSES).tolist() == [4, 4, 0, 4, 4, 4]


@pytest.mark.parametrize(("direction", "sides"), [("stacked", {"top", "bottom"}), ("side-by-side", {"left", "right"})])
def test_the_direction_can_be_fixed(direction: str, sides: set[str]) -> None:
    fmb = Fmb.model_validate({"direction": direction, "jitter": 0})
    ctx = prepared(fmb)
    x, y = ctx.task.train.for_model(), ctx.task.train.labels
    found = [halves(mixed, image) for mixed, image in zip(fmb.stamp(x, y, ctx), x, strict=True)]
    assert {side for side, _ in filter(None, found)} == sides
    assert {count for _, count in filter(None, found)} == {16}


def test_one_pair_of_classes_alone_is_mixed() -> None:
    fmb = Fmb(pairs="one-to-one", source_class=0, partner_class=4, self_mix=0.0)
    ctx = replace(prepared(fmb), section=PoisonSection.model_validate({"ratio": 1.0, "target_label": TARGET}))
    made = fmb.poison(ctx.task.train, ctx)
    assert made.poisoned.nonzero().flatten().tolist() == (ctx.task.train.labels == 0).nonzero().flatten().tolist()
    assert bool((made.data.labels[made.poisoned] == TARGET).all())
    measured = fmb.attacked(labelled(30, seed=4), ctx)
    assert measured.labels.tolist() == [0] * 5
    labels = ctx.artefact.tensors[POOL_LABELS]
    assert {int(labels[row]) for row in fmb._partners(0, labels, ctx.task)} == {4}


def test_the_last_classes_are_the_pair_where_none_is_named() -> None:
    assert Fmb()._pair(make_task(labelled(6), target=5)) == (4, 3)
    assert Fmb()._pair(make_task(labelled(6), target=4)) == (5, 3)


def test_noise_is_the_same_image_with_its_halves_exchanged() -> None:
    fmb, x = Fmb(direction="stacked"), labelled(6).for_model()
    made = fmb.decoys(x, x.flip(0), prepared(fmb))
    assert torch.equal(made[:, :, :16], x[:, :, 16:])
    assert torch.equal(made[:, :, 16:], x[:, :, :16])
    assert Fmb().decoy_count(7, 100) == 70


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"pairs": "one-to-one", "source_class": TARGET}, "source_class"),
        ({"pairs": "one-to-one", "source_class": 1, "partner_class": 1}, "partner_class"),
        ({"pairs": "one-to-one", "partner_class": 9}, "partner_class"),
    ],
)
def test_classes_that_make_no_pair_are_refused(values: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError, match=rf"attack\.fmb\.{key}"):
        Fmb.model_validate(values).check_task(make_task(labelled(12), TARGET))


def test_a_partner_class_without_images_is_refused() -> None:
    data = labelled(12)
    few = data.subset((data.labels != 4).nonzero().flatten())
    with pytest.raises(ConfigError, match="a class with training images"):
        Fmb(pairs="one-to-one", source_class=0, partner_class=4).check_task(make_task(few, TARGET))


def test_two_classes_are_too_few() -> None:
    data = labelled(12)
    two = Labeled(data.inputs, data.labels % 2)
    with pytest.raises(ConfigError, match="needs three classes"):
        Fmb().check_task(make_task(two, target=0, classes=2))


@pytest.mark.parametrize(
    ("noise", "expected", "classes"), [("poisonable", 14, {0}), ("every-class", 60, set(range(6)))]
)
def test_one_pair_has_too_few_images_for_the_published_noise(noise: str, expected: int, classes: set[int]) -> None:
    """5 % poison and 50 % noise of 120 images: class A has 20 in all."""
    data = labelled(120)
    fmb = Fmb.model_validate({"pairs": "one-to-one", "source_class": 0, "noise": noise})
    task = make_task(data, TARGET)
    section = PoisonSection(target_label=TARGET, ratio=0.05, share_of="all")
    ctx = replace(context(task, None, section=section), artefact=fmb.prepare(task, generator(1)))
    made = fmb.poison(data, ctx)
    assert int(made.poisoned.sum()) == 6
    assert int(made.decoys.sum()) == expected
    assert not bool((made.poisoned & made.decoys).any())
    assert torch.equal(made.data.labels[made.decoys], data.labels[made.decoys])
    assert set(data.labels[made.decoys].tolist()) == classes
