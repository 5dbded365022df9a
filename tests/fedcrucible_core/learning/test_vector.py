"""Flat vectors of parameters and buffers."""

import pytest
import torch
from torch import nn

from fedcrucible_core.learning.vector import (
    buffer_slots,
    flatten_buffers,
    flatten_parameters,
    load_buffers,
    load_parameters,
    parameter_slots,
)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2))


def test_parameters_survive_a_round_trip() -> None:
    source, other = network(), network()
    vector = flatten_parameters(source)
    load_parameters(other, vector)
    assert vector.dtype == torch.float32
    for a, b in zip(source.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_buffers_survive_a_round_trip_with_their_counter() -> None:
    source, other = network(), network()
    source.train()
    for _ in range(5):
        source[:2](torch.randn(4, 1, 6, 6))
    load_buffers(other, flatten_buffers(source))
    assert int(other[1].num_batches_tracked) == 5
    assert other[1].num_batches_tracked.dtype == torch.int64
    assert torch.equal(other[1].running_var, source[1].running_var)


def test_a_fractional_counter_is_rounded() -> None:
    model = network()
    vector = flatten_buffers(model)
    vector[-1] = 6.6
    load_buffers(model, vector)
    assert int(model[1].num_batches_tracked) == 7


def test_slots_describe_the_vector() -> None:
    model = network()
    vector = flatten_parameters(model)
    slots = parameter_slots(model)
    assert [s.name for s in slots] == [name for name, _ in model.named_parameters()]
    assert slots[-1].stop == len(vector)
    for slot, parameter in zip(slots, model.parameters(), strict=True):
        assert torch.equal(vector[slot.start : slot.stop].view(slot.shape), parameter)
        assert not slot.is_counter
    assert [s.name for s in buffer_slots(model) if s.is_counter] == ["1.num_batches_tracked"]


def test_the_vector_is_a_copy() -> None:
    model = network()
    vector = flatten_parameters(model)
    vector.zero_()
    assert float(flatten_parameters(model).abs().sum()) > 0


def test_frozen_parameters_and_unsaved_buffers_stay_out() -> None:
    model = network()
    full = len(flatten_parameters(model))
    model[0].weight.requires_grad_(False)
    model.register_buffer("constant", torch.ones(9), persistent=False)
    assert len(flatten_parameters(model)) == full - 27
    assert len(flatten_buffers(model)) == 7


def test_a_model_without_buffers_has_an_empty_vector() -> None:
    model = nn.Linear(2, 2)
    assert flatten_buffers(model).shape == (0,)
    load_buffers(model, torch.zeros(0))


@pytest.mark.parametrize("change", [-1, 1])
def test_a_wrong_length_is_refused_before_anything_changes(change) -> None:
    model = network()
    before = flatten_parameters(model)
    with pytest.raises(ValueError, match=rf"parameters: expected a vector of {len(before)} numbers"):
        load_parameters(model, torch.zeros(len(before) + change))
    with pytest.raises(ValueError, match="buffers: expected a vector of 7 numbers"):
        load_buffers(model, torch.zeros(7 + change))
    assert torch.equal(flatten_parameters(model), before)


def test_a_matrix_is_refused() -> None:
    model = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"got shape \(2, 3\)"):
        load_parameters(model, torch.zeros(2, 3))
