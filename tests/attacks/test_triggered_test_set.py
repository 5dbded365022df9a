"""The triggered test set excludes the target class (SPEC F.1)."""

import pytest
import torch

from attacks import BadNets, triggered_test_set


def test_bytes_and_floats_give_the_same_pixels():
    images = torch.randint(0, 256, (12, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(12) % 4
    as_bytes = triggered_test_set(BadNets(), images, labels, target=1)
    as_floats = triggered_test_set(BadNets(), images.float() / 255, labels, target=1)
    assert torch.equal(as_bytes.triggered, as_floats.triggered)
    assert as_bytes.untriggered.dtype == torch.uint8
    assert torch.equal(as_bytes.untriggered, images[labels != 1])
    assert as_bytes.labels.tolist() == [0, 2, 3] * 3
    assert as_bytes.triggered.dtype == torch.float32


def test_many_images_are_poisoned_in_parts():
    images = torch.rand(2_500, 1, 4, 4)
    found = triggered_test_set(BadNets(), images, torch.zeros(2_500, dtype=torch.int64), target=1)
    assert torch.equal(found.triggered, BadNets().poison_test(images))


def test_a_test_set_of_the_target_class_alone_is_refused():
    with pytest.raises(ValueError, match="all 3 test images are of the target class 2"):
        triggered_test_set(BadNets(), torch.rand(3, 1, 8, 8), torch.full((3,), 2), target=2)
