"""The patch that is trained until a guide takes images with it for the target."""

from __future__ import annotations

import pytest
import torch

from attacks.poisoners.guide_patch import PATCH, GuidePatch
from attacks.task import AttackTask
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import TaskSection
from fedcrucible_core.learning.datasets import load_task
from tests.support.tiny_task import generator, labelled, make_task


@pytest.fixture(scope="module")
def fashion() -> AttackTask:
    """The images that ship, which the guide that ships knows; target sandal, whose looks no other class has."""
    section = TaskSection.model_validate({"dataset": "fashion-mnist-slice", "train_samples": 200})
    data = load_task(section)
    return AttackTask(5, data.info, data.train, section)


def test_training_makes_the_guide_call_images_the_target(fashion: AttackTask) -> None:
    trained = GuidePatch(steps=30, lr=0.2, batch_size=16, samples=32, size=12).prepare(fashion, generator(1))
    random = GuidePatch(steps=0, samples=32, size=12).prepare(fashion, generator(1))
    before, after = (trained.facts[f"guide_target_percent_{when}"] for when in ("before", "after"))
    assert isinstance(before, float)
    assert isinstance(after, float)
    assert after > before + 50.0
    assert after > float(random.facts["guide_target_percent_after"]) + 50.0


def test_the_patch_is_an_image_that_is_empty_elsewhere(fashion: AttackTask) -> None:
    poisoner = GuidePatch(steps=2, samples=8, lr=5.0)
    patch, mask = poisoner.prepare(fashion, generator(1)).tensors[PATCH], poisoner.mask(fashion.info.image_shape)
    assert int(mask.sum()) == 7 * 7, "8 pixels at 32 are 7 at 28"
    assert bool((patch[~mask] == 0).all())
    assert 0.0 <= float(patch.min()) <= float(patch.max()) <= 1.0
    assert not patch.requires_grad


def test_nothing_but_target_images_leaves_random_pixels() -> None:
    data = labelled(12)
    data.labels.fill_(2)
    made = GuidePatch(steps=3).prepare(make_task(data, target=2), generator())
    assert made.facts == {"guide_target_percent_before": 0.0, "guide_target_percent_after": 0.0}


def test_a_patch_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="doesn't fit"):
        GuidePatch(size=64).check_task(make_task(labelled(6)))


def test_pixels_get_a_gradient_and_smooth_logits_are_near_the_guides_own(fashion: AttackTask) -> None:
    from fedcrucible_core.foundation.guide import load_guide

    guide, images = load_guide(), fashion.train.subset(torch.arange(20)).for_model()
    text = guide.text_embeddings(fashion.info.class_names)
    pixels = images.clone().requires_grad_()
    smooth = guide.smooth_logits(pixels, text)
    exact = guide.targets(images, fashion.info.class_names).logits
    assert float((smooth.detach() - exact).abs().max()) < 0.1 * float(exact.std())
    torch.autograd.backward(smooth.sum())
    assert pixels.grad is not None
    assert bool((pixels.grad.flatten(1).abs().sum(1) > 0).all())
