"""The contract of every model."""

import pytest
import torch

from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.models import MODELS, SplitModel
from fedcrucible_core.learning.models.base import ModelSpec
from fedcrucible_core.learning.tasks import task_of
from fedcrucible_core.learning.vector import flatten_buffers, flatten_parameters
from tests.support.tiny_distilbert import LONG_TEXTS, TEXTS, pretrained

EVERY = pytest.mark.parametrize("name", list(MODELS))
OF_PICTURES = pytest.mark.parametrize("name", [name for name in MODELS if MODELS[name].task == "vision"])
GREY = DataInfo("grey", tuple("abcde"), (1, 28, 28), (0.286,), (0.353,))
COLOUR = DataInfo("colour", tuple("abcdefg"), (3, 32, 32), (0.49, 0.48, 0.45), (0.25, 0.24, 0.26))
SETS = {"vision": (GREY, COLOUR), "text": (TEXTS, LONG_TEXTS)}


def spec_of(name: str) -> ModelSpec:
    return MODELS.create(name, {"source": str(pretrained())} if name == "distilbert" else {})


def inputs(info: DataInfo, n: int) -> torch.Tensor:
    return task_of(info).random_inputs(n, torch.Generator().manual_seed(0))


@EVERY
@pytest.mark.parametrize("which", [0, 1])
def test_shapes(name, which) -> None:
    spec = spec_of(name)
    info = SETS[spec.task][which]
    model, x = spec.build(info, seed=1).eval(), inputs(info, 3)
    with torch.no_grad():
        embedding, logits = model.embed(x), model(x)
    assert isinstance(model, SplitModel)
    assert embedding.shape == (3, model.feature_dim)
    assert logits.shape == (3, info.num_classes)
    assert torch.allclose(model.classifier(embedding), logits)
    assert bool(torch.isfinite(logits).all())


@EVERY
def test_initial_weights_depend_on_the_seed_alone(name) -> None:
    spec = spec_of(name)
    info = SETS[spec.task][0]
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = flatten_parameters(spec.build(info, seed=1))
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(6)
    assert torch.equal(flatten_parameters(spec.build(info, seed=1, channels_last=True)), first)
    assert not torch.equal(flatten_parameters(spec.build(info, seed=2)), first)


@EVERY
def test_features_and_classifier_hold_every_parameter(name) -> None:
    spec = spec_of(name)
    model = spec.build(SETS[spec.task][0], seed=1)
    split = {name for name, _ in model.named_parameters() if name.startswith(("features.", "classifier."))}
    assert split == {name for name, _ in model.named_parameters()}
    assert all(p.requires_grad for p in model.parameters())


@EVERY
def test_every_parameter_gets_a_gradient(name) -> None:
    spec = spec_of(name)
    info = SETS[spec.task][0]
    model = spec.build(info, seed=1).train()
    model(inputs(info, 8)).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in model.parameters())


@OF_PICTURES
def test_normalisation_constants_are_not_part_of_the_upload(name) -> None:
    model = MODELS.create(name).build(COLOUR, seed=1)
    constants = {"first.mean", "first.std"}
    assert constants <= {n for n, _ in model.named_buffers()}
    assert not constants & set(model.state_dict())
    assert not any(n in constants for n, _ in model.named_parameters())
    assert len(flatten_buffers(model)) == sum(b.numel() for n, b in model.named_buffers() if n not in constants)


@EVERY
def test_the_output_layer_is_named(name) -> None:
    spec = spec_of(name)
    info = SETS[spec.task][1]
    model = spec.build(info, seed=1)
    assert model.get_submodule(model.output) is model.head
    assert model.head.out_features == info.num_classes


@OF_PICTURES
def test_pixels_are_normalised_first(name) -> None:
    model = MODELS.create(name).build(COLOUR, seed=1).eval()
    x = torch.rand(2, *COLOUR.shape)
    normalised = (x - torch.tensor(COLOUR.mean).view(3, 1, 1)) / torch.tensor(COLOUR.std).view(3, 1, 1)
    with torch.no_grad():
        assert torch.allclose(model.embed(x), model.features(normalised), atol=1e-6)


def test_resnet18_has_the_cifar_stem_and_512_features() -> None:
    model = MODELS.create("resnet18").build(COLOUR, seed=1)
    assert model.feature_dim == 512
    assert model.features.conv1.stride == (1, 1)
    assert model.features.conv1.kernel_size == (3, 3)


TEN = DataInfo("ten", tuple("abcdefghij"), (3, 32, 32), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


@pytest.mark.parametrize(
    ("name", "settings", "parameters", "features"),
    [
        ("preact-resnet18", {}, 11_171_146, 512),
        ("preact-resnet18", {"final_norm": True}, 11_172_170, 512),
        ("vgg16", {}, 14_728_266, 512),
        ("vgg16", {"norm": "none"}, 14_719_818, 512),
        ("mobilenet-v2", {}, 2_236_682, 1280),
    ],
)
def test_networks_for_32_pixels_are_of_the_published_size(name, settings, parameters, features) -> None:
    """Parameters for ten classes of colour pictures, as public code for CIFAR-10 counts them."""
    model = MODELS.create(name, settings).build(TEN, seed=1)
    assert len(flatten_parameters(model)) == parameters
    assert model.feature_dim == features


@pytest.mark.parametrize(("name", "side"), [("preact-resnet18", 4), ("vgg16", 1), ("mobilenet-v2", 4)])
@pytest.mark.parametrize("pixels", [28, 32])
def test_networks_for_32_pixels_end_on_as_many_positions(name, side, pixels) -> None:
    info = DataInfo("square", ("a", "b"), (1, pixels, pixels), (0.5,), (0.5,))
    model, seen = MODELS.create(name).build(info, seed=1).eval(), []
    pooling = next(m for m in model.modules() if isinstance(m, torch.nn.AdaptiveAvgPool2d))
    pooling.register_forward_hook(lambda _m, given, _out: seen.append(given[0].shape))
    with torch.no_grad():
        model(torch.zeros(2, *info.shape))
    assert seen[0][2:] == (side, side)


@OF_PICTURES
def test_images_that_are_too_small_are_refused_by_name(name) -> None:
    spec = MODELS.create(name)
    smallest = DataInfo("tiny", ("a", "b"), (1, spec.smallest, spec.smallest), (0.5,), (0.5,))
    spec.build(smallest, 1).eval()(torch.zeros(1, *smallest.shape))
    if spec.smallest > 1:
        below = DataInfo("tiny", ("a", "b"), (1, 9, spec.smallest - 1), (0.5,), (0.5,))
        with pytest.raises(ConfigError, match=rf"model.name = '{name}': takes images of at least 4 x 4 pixels"):
            spec.build(below, 1)


@EVERY
def test_inputs_of_another_kind_are_refused_by_name(name) -> None:
    spec = spec_of(name)
    other = TEXTS if spec.task == "vision" else GREY
    with pytest.raises(ConfigError, match=rf"model.name = '{name}': takes {spec.task} inputs") as caught:
        spec.build(other, 1)
    fitting = [found for found in MODELS if MODELS[found].task == other.task]
    assert str(caught.value).endswith(f"allowed: {', '.join(fitting)}")
