"""Weights from a file: of ours, of torchvision, wrapped or not; what doesn't fit is one error that names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.models import ResNet8, Torchvision
from fedcrucible_core.learning.models.weights_file import load_weights

GREY = DataInfo("grey", ("a", "b", "c"), (1, 28, 28), (0.5,), (0.5,))
COLOUR = DataInfo("colour", ("a", "b", "c"), (3, 64, 64), (0.4, 0.5, 0.6), (0.2, 0.2, 0.2))


def _ours(seed: int) -> nn.Module:
    return ResNet8(width=4).build(GREY, seed)


@pytest.mark.parametrize("ending", [".safetensors", ".pt", ".pth"])
@pytest.mark.parametrize("wrapper", ["", "state_dict", "net"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_state_dict_is_found_however_it_was_saved(tmp_path: Path, ending: str, wrapper: str, prefix: str) -> None:
    trained, model, file = _ours(1), ResNet8(width=4).build(GREY, 2), tmp_path / f"weights{ending}"
    state = {f"{prefix}{name}": tensor for name, tensor in trained.state_dict().items()}
    if ending == ".safetensors":
        save_file(state, file)
    else:
        torch.save({wrapper: state, "epoch": 3} if wrapper else state, file)
    load_weights(model, str(file))
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in trained.state_dict().items())


def test_a_network_of_torchvision_is_itself_with_its_own_state_dict(tmp_path: Path) -> None:
    from torchvision.models import mobilenet_v3_small

    torch.manual_seed(0)
    network = mobilenet_v3_small(weights=None, num_classes=3).eval()
    torch.save(network.state_dict(), tmp_path / "net.pth")
    spec = Torchvision(architecture="mobilenet_v3_small", normalise="none")
    model = spec.build(COLOUR, 1).eval()
    load_weights(model, str(tmp_path / "net.pth"))
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model(x), network(x), rtol=0, atol=0)
    torch.save(model.state_dict(), tmp_path / "ours.pth")  # and back, under our names
    again = spec.build(COLOUR, 2).eval()
    load_weights(again, str(tmp_path / "ours.pth"))
    with torch.no_grad():
        torch.testing.assert_close(again(x), network(x), rtol=0, atol=0)


def test_grey_pictures_fill_three_channels_and_constants_of_imagenet_are_for_colours() -> None:
    info = DataInfo("grey", ("a", "b"), (1, 32, 32), (0.5,), (0.5,))
    model = Torchvision(architecture="resnet18", normalise="imagenet").build(info, 1)
    first = model.first(torch.full((1, 1, 2, 2), 0.485))
    assert first.shape == (1, 3, 2, 2)
    torch.testing.assert_close(first[0, :, 0, 0], torch.tensor([0.0, (0.485 - 0.456) / 0.224, (0.485 - 0.406) / 0.225]))
    assert model.eval().embed(torch.rand(2, 1, 32, 32)).shape == (2, 512)


def _drop(state: dict[str, Tensor]) -> None:
    del state["classifier.bias"]


def _add(state: dict[str, Tensor]) -> None:
    state["more"] = torch.zeros(1)


def _reshape(state: dict[str, Tensor]) -> None:
    state["classifier.bias"] = torch.zeros(7)


def _spoil(state: dict[str, Tensor]) -> None:
    state["classifier.bias"] = torch.full((3,), float("nan"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_drop, "lacks classifier.bias"),
        (_add, "has beside it more"),
        (_reshape, "has in another shape classifier.bias"),
        (_spoil, "holds no finite numbers in classifier.bias"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, change: Callable[[dict[str, Tensor]], None], said: str) -> None:
    state = dict(_ours(1).state_dict())
    change(state)
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(ConfigError, match=said):
        load_weights(ResNet8(width=4).build(GREY, 2), str(tmp_path / "w.pt"))


@pytest.mark.parametrize("content", [b"", b"not a file of weights", b"PK\x03\x04"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(ConfigError, match="can't be read as a state dict"):
        load_weights(ResNet8(width=4).build(GREY, 2), str(tmp_path / "w.pt"))
    with pytest.raises(ConfigError, match="no such file"):
        load_weights(ResNet8(width=4).build(GREY, 2), str(tmp_path / "absent.pt"))


def test_a_checkpoint_without_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 1}, tmp_path / "w.pt")
    with pytest.raises(ConfigError, match="holds no state dict"):
        load_weights(ResNet8(width=4).build(GREY, 2), str(tmp_path / "w.pt"))


@pytest.mark.parametrize("name", ["nonsense", "resnet81"])
def test_an_unknown_network_is_told(name: str) -> None:
    with pytest.raises(ConfigError, match=r"model\.torchvision\.architecture"):
        Torchvision(architecture=name).build(COLOUR, 1)


def test_a_network_that_can_not_take_the_pictures_is_told_before_anything_starts() -> None:
    with pytest.raises(ConfigError, match="take pictures of 28 x 28"):
        Torchvision(architecture="alexnet").build(GREY, 1)
