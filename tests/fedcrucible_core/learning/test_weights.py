"""A model's numbers as a value."""

import pytest
import torch
from torch import nn

from fedcrucible_core.learning.bounds import bounds_of, set_bounds
from fedcrucible_core.learning.weights import Trained, Weights


def model(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def test_what_a_model_holds_can_be_given_to_another() -> None:
    one, other = model(1), model(2)
    one(torch.randn(4, 2))  # moves the running statistics
    kept = Weights.of(one)
    assert kept.parameters.shape == (2 * 3 + 3 + 3 + 3,)
    assert kept.buffers.shape == (3 + 3 + 1,)
    assert kept.nbytes == 4 * (15 + 7)
    assert not kept.equals(Weights.of(other))
    kept.load_into(other)
    assert kept.equals(Weights.of(other))


def test_it_is_a_copy() -> None:
    one = model(1)
    kept = Weights.of(one)
    with torch.no_grad():
        one.get_parameter("0.weight").zero_()
    assert not kept.equals(Weights.of(one))


def test_a_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a vector of 15 numbers"):
        Weights(torch.zeros(14), torch.zeros(7)).load_into(model(1))


def test_a_model_without_buffers_has_an_empty_vector() -> None:
    kept = Weights.of(nn.Linear(1, 1))
    assert kept.buffers.numel() == 0
    assert Trained(kept).loss == 0.0


def test_bounds_go_with_it() -> None:
    one, other = model(1), model(1)
    set_bounds(one, {"1": torch.tensor([0.1, 0.2, 0.3])})
    kept, free = Weights.of(one), Weights.of(other)
    assert not kept.equals(free)
    assert kept.unbounded().equals(free)
    assert free.unbounded() is free
    assert kept.nbytes == free.nbytes + 12
    kept.load_into(other)
    assert Weights.of(other).equals(kept)
    assert not kept.equals(Weights(kept.parameters, kept.buffers, {"1": torch.tensor([0.1, 0.2, 0.4])}))
    free.load_into(other)
    assert bounds_of(other) == {}
