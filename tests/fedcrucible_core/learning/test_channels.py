"""The last convolution of every model, its channels' activity, silencing, and the survey about it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fedcrucible_core.learning.channels import (
    LastUnits,
    drop_extreme_weights,
    last_convolution,
    last_hidden,
    mean_activations,
    silence,
)
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.models import ModelSpec, ResNet8, ResNet18, SmallCNN, SplitModel
from fedcrucible_core.learning.models.base import deepened
from fedcrucible_core.learning.survey import Survey
from fedcrucible_core.learning.tasks import TASKS, Task

INFO = DataInfo("grey", tuple("abcde"), (1, 12, 12), (0.3,), (0.4,))
CPU = torch.device("cpu")
MODELS: dict[str, tuple[ModelSpec, str, str, int]] = {
    "cnn": (SmallCNN(width=4), "features.3", "", 8),
    "resnet8": (ResNet8(width=4), "features.5.conv2", "features.5.norm2", 16),
    "resnet8-group": (ResNet8(width=4, norm="group"), "features.5.conv2", "features.5.norm2", 16),
    "resnet18": (ResNet18(), "features.layer4.1.conv2", "features.layer4.1.bn2", 512),
}
EVERY = pytest.mark.parametrize("name", list(MODELS))


def build(name: str) -> SplitModel:
    model = MODELS[name][0].build(INFO, 1).eval()
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():  # as after training: nothing is exactly zero or one
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=g))
        for key, buffer in model.named_buffers():
            if key.endswith("running_mean"):
                buffer += torch.randn(buffer.shape, generator=g)
    return model


def images(n: int = 6) -> Tensor:
    return torch.rand(n, *INFO.shape, generator=torch.Generator().manual_seed(3))


def output_of(model: SplitModel, module: str, x: Tensor) -> Tensor:
    seen: list[Tensor] = []
    hook = model.get_submodule(module).register_forward_hook(lambda *a: seen.append(a[2].clone()))
    with torch.no_grad():
        model(x)
    hook.remove()
    return seen[0]


@EVERY
def test_the_last_wide_convolution_is_found_with_its_norm(name: str) -> None:
    _, convolution, norm, channels = MODELS[name]
    found = last_convolution(build(name), INFO.shape)
    assert (found.convolution, found.norm, found.channels) == (convolution, norm, channels)
    assert found.module == (norm or convolution)


def test_a_model_of_one_pixel_convolutions_has_a_last_one_too() -> None:
    features = nn.Sequential(nn.Conv2d(1, 3, 1), nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert last_convolution(SplitModel(features, 2, INFO), INFO.shape).convolution == "features.1"


def test_without_a_convolution_there_is_none() -> None:
    with pytest.raises(ValueError, match="no convolution"):
        last_convolution(SplitModel(nn.Flatten(), 144, INFO), INFO.shape)


def test_a_norm_that_cannot_be_silenced_is_refused() -> None:
    features = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, affine=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ValueError, match="no scale and shift"):
        last_convolution(SplitModel(features, 2, INFO), INFO.shape)


@EVERY
@pytest.mark.parametrize("kind", ["relu", "abs"])
def test_activity_is_the_mean_over_images_and_positions(name: str, kind: str) -> None:
    model = build(name)
    output = last_convolution(model, INFO.shape).module
    got = mean_activations(model, output, images(), 4, CPU, kind)  # type: ignore[arg-type]
    out = output_of(model, output, images()).double()
    expected = (out.abs() if kind == "abs" else out.clamp(min=0)).mean((0, 2, 3))
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-7)


@EVERY
def test_silenced_channels_output_exactly_zero_and_the_others_as_before(name: str) -> None:
    model = build(name)
    place = last_convolution(model, INFO.shape)
    before = output_of(model, place.module, images())
    chosen = [1, place.channels - 1]
    silence(model, place, chosen)
    after = output_of(model, place.module, images())
    kept = [c for c in range(place.channels) if c not in chosen]
    assert not bool(after[:, chosen].any()), "a shift left in the norm would leak"
    assert bool(before[:, chosen].any())
    torch.testing.assert_close(after[:, kept], before[:, kept])


def test_silencing_the_weights_alone_would_leak_through_the_norm() -> None:
    model = build("resnet8")
    with torch.no_grad():
        model.get_parameter("features.5.conv2.weight")[0] = 0.0
    assert bool(output_of(model, "features.5.norm2", images())[:, 0].any())


def test_extreme_weights_are_those_outside_the_deviations_of_living_channels() -> None:
    model = build("cnn")
    place = last_convolution(model, INFO.shape)
    silence(model, place, [0])
    convolution = model.get_submodule(place.convolution)
    assert isinstance(convolution, nn.Conv2d)
    weight = convolution.weight.detach().double().numpy().copy()
    alive = weight[1:]
    limit = 1.5 * alive.std()
    extreme = (abs(weight - alive.mean()) > limit) & (weight != 0)
    assert drop_extreme_weights(model, place, 1.5) == extreme.sum() > 0
    expected = weight.copy()
    expected[extreme] = 0.0
    assert convolution.weight.detach().double().numpy() == pytest.approx(expected)


def ask(method: str, channels: int = 5, count: int = 2) -> Survey:
    return Survey("x", channels, count, method, "relu")  # type: ignore[arg-type]


def test_ranks_count_from_the_least_active() -> None:
    assert ask("ranks").answer(torch.tensor([0.5, 0.1, 0.9, 0.0, 0.2])).tolist() == [3, 1, 4, 0, 2]
    assert ask("ranks").answer(torch.zeros(5)).tolist() == [0, 1, 2, 3, 4]


def test_votes_are_for_the_least_active() -> None:
    assert ask("votes").answer(torch.tensor([0.5, 0.1, 0.9, 0.0, 0.2])).tolist() == [0, 1, 0, 1, 0]


@pytest.mark.parametrize(
    ("method", "answer", "fault"),
    [
        ("ranks", [3, 1, 4, 0, 2], ""),
        ("ranks", [3, 1, 4, 0, 0], "no permutation"),
        ("ranks", [4, 1, 5, 2, 3], "no permutation"),
        ("ranks", [-1, 1, 2, 3, 4], "no permutation"),
        ("votes", [0, 1, 0, 1, 0], ""),
        ("votes", [0, 1, 1, 1, 0], "not 2 ones"),
        ("votes", [0, 2, 0, 0, 0], "not 2 ones"),
        ("votes", [0, 1, -1, 1, 1], "not 2 ones"),
    ],
)
def test_faults_of_answers(method: str, answer: list[int], fault: str) -> None:
    found = ask(method).fault(torch.tensor(answer))
    assert fault in found
    assert bool(found) == bool(fault)


# --- models without pictures ------------------------------------------------------------------------------------------

TOKENS = DataInfo("words", tuple("abc"), (7,), (), (), task="text")


def text_model(blocks: int = 0) -> SplitModel:
    """The mean of word vectors of 10 numbers, and ``blocks`` further blocks of 6 units."""
    torch.manual_seed(0)
    model = SplitModel(nn.EmbeddingBag(30, 10), 10, TOKENS)
    return deepened(model, blocks, 6, TOKENS).eval()


def token_ids(n: int = 5) -> Tensor:
    return torch.randint(0, 30, (n, 7), generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "text", Words)


class Words(Task):
    """Invented: token ids."""

    noun = "text"

    def random_inputs(self, n: int, rng: torch.Generator) -> Tensor:
        return torch.randint(0, 30, (n, 7), generator=rng)


def test_pictures_have_a_last_convolution_also_before_further_blocks() -> None:
    model = ResNet8(width=4, blocks=2, block_width=6).build(INFO, 1)
    found = last_hidden(model, INFO)
    assert not found.received
    assert (found.module, found.channels) == ("features.0.5.norm2", 16)


@pytest.mark.parametrize(("blocks", "units"), [(0, 10), (1, 6), (3, 6)])
def test_texts_have_the_units_that_the_output_layer_reads(blocks: int, units: int) -> None:
    assert last_hidden(text_model(blocks), TOKENS) == LastUnits("classifier", units)


@pytest.mark.parametrize("kind", ["relu", "abs"])
def test_their_activity_is_the_mean_of_the_features(kind: str) -> None:
    model = text_model()
    features = model.embed(token_ids()).detach().double()
    expected = [
        sum(abs(row[unit]) if kind == "abs" else max(row[unit], 0.0) for row in features.tolist()) / 5
        for unit in range(10)
    ]
    got = mean_activations(model, "classifier", token_ids(), 2, CPU, kind, received=True)  # type: ignore[arg-type]
    assert got.tolist() == pytest.approx(expected, rel=1e-6)


def test_a_silent_unit_counts_for_nothing() -> None:
    model = text_model(1)
    silence(model, LastUnits("classifier", 6), [1, 4])
    features = model.embed(token_ids()).detach()
    changed = features.clone()
    changed[:, [1, 4]] += 100.0
    assert torch.equal(model.head(features), model.head(changed))
    assert int((model.head.weight == 0).all(0).sum()) == 2


def test_extreme_weights_of_units_are_those_of_the_output_layer() -> None:
    model, place = text_model(1), LastUnits("classifier", 6)
    silence(model, place, [0])
    before = model.head.weight.detach().clone()
    alive = before[:, 1:].double()
    outside = (before.double() - alive.mean()).abs() > 1.5 * alive.std(correction=0)
    outside[:, 0] = False
    assert drop_extreme_weights(model, place, 1.5) == int(outside.sum()) > 0
    assert torch.equal(model.head.weight.detach(), before.masked_fill(outside, 0.0))
