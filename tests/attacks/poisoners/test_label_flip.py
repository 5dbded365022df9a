"""Label flip: images stay, labels follow the formula."""

import pytest
import torch

from attacks.poisoners.label_flip import LabelFlip
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import PoisonSection
from fedcrucible_core.learning.data import Labeled
from tests.support.tiny_task import context, labelled, make_task, measured_on, poisoned_rows, train_form


def flipped(attack: LabelFlip, labels: list[int], classes: int = 10, target: int = 2) -> list[int]:
    y = torch.tensor(labels)
    task = make_task(Labeled(torch.zeros(len(y), 1, 8, 8, dtype=torch.uint8), y), target, classes)
    x = torch.rand(len(y), 1, 8, 8)
    images, found = train_form(attack, x, y, context(task))
    assert torch.equal(images, x)
    return found.tolist()


def test_reverse_is_last_class_minus_label() -> None:
    assert flipped(LabelFlip(), list(range(10))) == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert flipped(LabelFlip(), [0, 1, 2], classes=3) == [2, 1, 0], "the middle class of an odd number stays"


def test_next_wraps_around() -> None:
    assert flipped(LabelFlip(mode="next"), [0, 4, 9]) == [1, 5, 0]
    assert flipped(LabelFlip(mode="next"), [0, 1, 2], classes=3) == [1, 2, 0]


def test_source_target_gives_the_target() -> None:
    assert flipped(LabelFlip(mode="source-target"), [9, 9]) == [2, 2]


@pytest.mark.parametrize("mode", ["reverse", "next"])
def test_untargeted_modes_may_flip_any_image(mode) -> None:
    data = labelled(48)
    for scope in ("non-target", "all"):
        section = PoisonSection(target_label=2, ratio=1.0, scope=scope)
        _, y = poisoned_rows(LabelFlip(mode=mode), section, context(make_task(data)), torch.arange(48))
        assert bool((y != data.labels).all())
        assert len(y.unique()) == 6
    assert not LabelFlip(mode=mode).targeted
    with pytest.raises(TypeError, match="untargeted"):
        measured_on(LabelFlip(mode=mode), data, make_task(data))


@pytest.mark.parametrize(("source", "expected"), [(-1, 5), (0, 0), (4, 4)])
def test_source_target_is_about_one_class_in_training_and_test(source, expected) -> None:
    attack, data, test = LabelFlip(mode="source-target", source_class=source), labelled(48), labelled(60, seed=3)
    task = make_task(data)
    section = PoisonSection(target_label=2, ratio=0.5)
    px, py = poisoned_rows(attack, section, context(task), torch.arange(48))
    assert data.labels[py != data.labels].tolist() == [expected] * 4
    assert torch.equal(px, data.for_model())
    found = measured_on(attack, test, task)
    assert found.labels.tolist() == [expected] * 10
    assert torch.equal(found.inputs, test.for_model()[test.labels == expected]), "natural: no pixel is changed"


def test_the_default_source_is_the_last_class_but_the_target() -> None:
    attack, data = LabelFlip(mode="source-target"), labelled(12)
    assert attack.carriers(data, make_task(data, target=5)).nonzero().flatten().tolist() == [4, 10]


@pytest.mark.parametrize("source", [2, 6, 99])
def test_a_source_that_is_the_target_or_no_class_is_refused(source) -> None:
    data = labelled(12)
    attack = LabelFlip(mode="source-target", source_class=source)
    with pytest.raises(ConfigError, match=rf"attack.label-flip.source_class = {source}: allowed: -1, or 0 to 5"):
        attack.check_task(make_task(data))
    LabelFlip(source_class=source).check_task(make_task(data))
