"""Where activations can be bounded, and what a bound does."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fedcrucible_core.learning.bounds import bounds_of, channel_axis, rectified, set_bounds
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.models import Logistic, ModelSpec, ResNet8, ResNet18, SmallCNN

INFO = DataInfo("grey", tuple("abc"), (1, 16, 16), (0.3,), (0.4,))
X = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def places(spec: ModelSpec) -> dict[str, int]:
    return {place.module: place.channels for place in rectified(spec.build(INFO, 1), X)}


def test_every_relu_of_the_models_that_ship_is_found() -> None:
    assert places(SmallCNN(width=4, hidden=9)) == {"features.0": 4, "features.3": 8, "features.8": 9}
    blocks = {f"features.{i}{part}": width for i, width in ((3, 4), (4, 8), (5, 16)) for part in (".norm1", "")}
    assert places(ResNet8(width=4)) == {"features.1": 4, **blocks}
    assert list(places(ResNet8(width=4, blocks=2, block_width=5)).values())[-2:] == [5, 5]
    assert len(places(ResNet18())) == 1 + 2 * 8
    assert places(Logistic()) == {}


def test_a_batch_norm_that_something_is_added_to_is_no_place() -> None:
    """torchvision's block adds its shortcut in place: bn2's output is another value by the time of the ReLU."""
    assert not [name for name in places(ResNet18()) if name.endswith("bn2")]


class Arithmetic(nn.Module):
    """No module hands on what its ReLU gives or gets."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return 2.0 * F.relu(self.inner(x) + 1.0)


def test_an_activation_amid_arithmetic_is_left_out() -> None:
    assert rectified(Arithmetic(), torch.rand(2, 4)) == []


def test_gelu_is_bounded_after_it_alone() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 2))
    assert [place.module for place in rectified(model, torch.rand(2, 4))] == ["1"]


def test_looking_leaves_nothing_behind() -> None:
    model = ResNet8(width=4).build(INFO, 1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    rectified(model, X)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("spec", [SmallCNN(width=4), ResNet8(width=4), ResNet18()], ids=lambda spec: spec.name)
def test_infinite_bounds_change_nothing_and_zero_bounds_silence_all(spec: ModelSpec) -> None:
    model = spec.build(INFO, 1).eval()
    found = rectified(model, X)
    with torch.no_grad():
        free = model(X)
        set_bounds(model, {place.module: torch.full((place.channels,), float("inf")) for place in found})
        assert torch.equal(model(X), free)
        set_bounds(model, {place.module: torch.zeros(place.channels) for place in found})
        assert torch.equal(model(X), model.head.bias.expand(3, -1)), "features are zero"
        set_bounds(model, {})
        assert torch.equal(model(X), free)


def test_a_bound_before_a_relu_is_one_after_it() -> None:
    layers = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()).eval()
    x, z = torch.randn(4, 3, 5, 5), torch.tensor([0.1, 0.0, 0.7])
    after = torch.minimum(layers(x), z.view(1, 3, 1, 1))
    set_bounds(layers, {"0": z})
    assert torch.equal(layers(x), after)


@pytest.mark.parametrize("shape", [(2, 3), (2, 5, 3), (2, 3, 4, 4)])
def test_bounds_are_by_channel(shape: tuple[int, ...]) -> None:
    model, z = nn.Sequential(nn.ReLU()), torch.tensor([0.2, 0.5, 1.5])
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2
    set_bounds(model, {"0": z})
    got, axis = model(x), channel_axis(x)
    for place in torch.cartesian_prod(*map(torch.arange, shape)).tolist():
        index = tuple(place)
        assert float(got[index]) == min(float(x[index]), float(z[index[axis]]))


def test_bounds_are_read_back_and_copied_with_the_model() -> None:
    model = SmallCNN(width=4).build(INFO, 1)
    given = {"features.0": torch.rand(4), "features.3": torch.rand(8)}
    set_bounds(model, given)
    for holder in (model, copy.deepcopy(model)):
        found = bounds_of(holder)
        assert found.keys() == given.keys()
        assert all(torch.equal(found[name], values) for name, values in given.items())
    set_bounds(model, {"features.0": torch.ones(4)})
    assert list(bounds_of(model)) == ["features.0"], "others are gone"
