"""Labelled inputs of any kind, and the one place that turns stored pictures into floats."""

import pytest
import torch

from fedcrucible_core.learning.data import Labeled, model_inputs


def test_stored_pictures_become_floats_in_memory_of_their_own() -> None:
    stored = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 3)
    floats = model_inputs(stored)
    assert floats.dtype == torch.float32
    assert floats.flatten().tolist() == pytest.approx([0.0, 0.2, 1.0])
    assert stored.flatten().tolist() == [0, 51, 255]


@pytest.mark.parametrize("inputs", [torch.rand(2, 3, 4, 4), torch.tensor([[1, 2, 0], [3, 0, 0]])])
def test_what_a_model_takes_is_left_as_it_is(inputs) -> None:
    assert model_inputs(inputs) is inputs
    assert Labeled(inputs, torch.zeros(2, dtype=torch.int64)).for_model() is inputs


def test_a_subset_keeps_labels_and_rows_with_their_inputs() -> None:
    data = Labeled(torch.arange(12).view(4, 3), torch.tensor([3, 2, 1, 0])).numbered()
    part = data.subset(torch.tensor([2, 0]))
    assert part.inputs.tolist() == [[6, 7, 8], [0, 1, 2]]
    assert part.labels.tolist() == [1, 3]
    assert part.rows is not None
    assert part.rows.tolist() == [2, 0]
    assert not data.equals(part)
    assert data.subset(torch.tensor([2, 0])).equals(part)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"uint8 \[n, C, H, W\]"):
        Labeled(torch.zeros(2, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"2 inputs but labels of shape \(3,\)"):
        Labeled(torch.zeros(2, 4), torch.zeros(3, dtype=torch.int64))
