"""What ASR is measured on excludes the target class."""

import pytest
import torch

from attacks.poisoner import Poisoner
from attacks.poisoners.badnets import BadNets
from fedcrucible_core.learning.data import Labeled
from tests.support.tiny_task import labelled, make_task, measured_on, stamped


class Elsewhere(Poisoner):
    """Measured on inputs of its own."""

    has_trigger = False
    natural = True

    def held_out(self, task):
        return Labeled(torch.full((4, 1, 4, 4), 51, dtype=torch.uint8), torch.tensor([0, 1, 2, 1]))


def test_pixels_are_in_the_unit_range_before_the_trigger() -> None:
    images = labelled(12)
    found = measured_on(BadNets(), images, make_task(images, target=1))
    assert found.labels.tolist() == [0, 2, 3, 4, 5] * 2
    assert found.rows is not None
    assert found.rows.tolist() == [0, 2, 3, 4, 5, 6, 8, 9, 10, 11]
    assert found.inputs.dtype == torch.float32
    assert torch.equal(found.inputs, stamped(BadNets(), images.inputs[found.rows].float() / 255))


def test_many_images_are_poisoned_in_parts() -> None:
    pixels = torch.randint(0, 256, (2_500, 1, 4, 4), dtype=torch.uint8)
    images = Labeled(pixels, torch.zeros(2_500, dtype=torch.int64))
    found = measured_on(BadNets(), images, make_task(images, target=1))
    assert torch.equal(found.inputs, stamped(BadNets(), images.for_model()))


def test_a_test_set_of_the_target_class_alone_is_refused() -> None:
    images = Labeled(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.full((3,), 2))
    with pytest.raises(ValueError, match=r"none of 3 images .* another class than the target 2"):
        measured_on(BadNets(), images, make_task(images, target=2))


def test_inputs_from_elsewhere_take_the_place_of_test_images() -> None:
    images = labelled(12)
    found = measured_on(Elsewhere(), images, make_task(images, target=1))
    assert found.rows is None
    assert found.labels.tolist() == [0, 2]
    assert torch.equal(found.inputs, torch.full((2, 1, 4, 4), 0.2))
