"""Many triggers: places, patterns, equal shares."""

from __future__ import annotations

import pytest
import torch

from attacks.poisoners.multi_trigger import MultiTrigger
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import PoisonSection
from tests.support.tiny_task import COLOUR, GREY, context, labelled, make_task, poisoned_rows

TARGET = 2


def test_eight_patches_lie_in_the_corners_and_the_middles_of_the_sides() -> None:
    """28 x 28: 3 pixels at 32 are 3, the border of places has 4 x 25 steps, a patch lies at every 12.5th."""
    where, _ = MultiTrigger().patches(GREY)
    corners = [tuple(mask.nonzero()[0].tolist()) for mask in where]
    assert corners == [(0, 0), (0, 12), (0, 25), (12, 25), (25, 25), (25, 13), (25, 0), (13, 0)]
    assert [int(mask.sum()) for mask in where] == [9] * 8
    assert bool((where.sum(0) <= 1).all()), "they lie beside each other"


def test_patterns_differ_and_are_half_white() -> None:
    where, pixels = MultiTrigger(triggers=20).patches(COLOUR)
    patterns = [tuple(pixels[i][where[i]].tolist()) for i in range(20)]
    assert len(set(patterns)) == 20
    assert {sum(pattern) for pattern in patterns} == {5.0}
    assert not bool(pixels[~where].any())
    assert not torch.equal(pixels, MultiTrigger(triggers=20, seed=1).patches(COLOUR)[1])


def shown(made: torch.Tensor, clean: torch.Tensor, poisoner: MultiTrigger) -> list[int]:
    """Number of the one patch by which each image differs from the clean one."""
    where, pixels = poisoner.patches((clean.shape[1], clean.shape[2], clean.shape[3]))
    found = []
    for image, before in zip(made, clean, strict=True):
        fits = [i for i in range(len(where)) if torch.equal(image, torch.where(where[i], pixels[i], before))]
        assert len(fits) == 1
        found += fits
    return found


def test_each_poisoned_image_shows_one_of_them_in_equal_shares() -> None:
    poisoner, data = MultiTrigger(), labelled(96)
    ctx = context(make_task(data, TARGET), seed=3)
    x, y = poisoned_rows(poisoner, PoisonSection(target_label=TARGET, ratio=0.25), ctx)
    clean = data.for_model()
    changed = (x != clean).flatten(1).any(1)
    assert bool((y[changed] == TARGET).all())
    numbers = shown(x[changed], clean[changed], poisoner)
    assert torch.bincount(torch.tensor(numbers), minlength=8).tolist() == [3, 3, 3, 3, 2, 2, 2, 2], "20 of 80 eligible"


def test_a_test_image_chooses_by_its_own_pixels_and_all_are_chosen_about_as_often() -> None:
    poisoner, data = MultiTrigger(triggers=4), labelled(400)
    clean = data.for_model()
    numbers = poisoner.chosen(clean)
    assert torch.equal(numbers[100:], poisoner.chosen(clean[100:]))
    assert shown(poisoner.stamp(clean[:12], data.labels[:12], context()), clean[:12], poisoner) == numbers[:12].tolist()
    counts = torch.bincount(numbers, minlength=4)
    assert int(counts.min()) > 70
    assert "mean over 4 triggers" in poisoner.notes(0)[0]


@pytest.mark.parametrize(
    ("settings", "most"), [({"triggers": 34}, "at most 33"), ({"triggers": 7, "size": 2}, "at most 6")]
)
def test_more_than_fit_are_refused(settings: dict[str, int], most: str) -> None:
    """28 x 28: 100 steps hold 33 patches of 3; 2 x 2 pixels have 6 patterns of which half are white."""
    with pytest.raises(ConfigError, match=most):
        MultiTrigger(**settings).check_task(make_task(labelled(6, GREY)))


def test_a_patch_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ConfigError, match="doesn't fit"):
        MultiTrigger(size=64).check_task(make_task(labelled(6)))
