"""The bounds' beginning, their objective in float64, and what of the model they leave alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from defenses.base import Purified
from defenses.contracts.server_setting import INFO, make_data, make_guide, make_model
from defenses.purifiers.activation_bounds import ActivationBounds, activation_quantiles
from fedcrucible_core.foundation.base import GuideTargets, ServerData
from fedcrucible_core.learning.bounds import bounds_of, rectified, set_bounds
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.models import SplitModel
from fedcrucible_core.learning.vector import flatten_buffers, flatten_parameters

TINY = DataInfo("vectors", ("a", "b", "c"), (4,), (), (), task="vectors")


def dense(seed: int = 0) -> SplitModel:
    """Four numbers, five ReLU units, three classes."""
    torch.manual_seed(seed)
    return SplitModel(nn.Sequential(nn.Linear(4, 5), nn.ReLU()), 5, TINY).eval()


def vectors(n: int = 12, seed: int = 1) -> ServerData:
    inputs = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))
    return ServerData(Labeled(inputs, torch.arange(n) % 3), None, (), {})


def told(data: ServerData, wrong: tuple[int, ...] = ()) -> GuideTargets:
    """A guide that gives each sample its label, but for the rows ``wrong``."""
    labels = data.originals.labels.clone()
    labels[list(wrong)] = (labels[list(wrong)] + 1) % 3
    one_hot = torch.eye(3)[labels]
    return GuideTargets(one_hot, torch.eye(3), 10.0 * one_hot)


def purify(purifier: ActivationBounds, model: SplitModel, data: ServerData, guide: GuideTargets | None) -> Purified:
    return purifier.purify(model, data, guide, torch.Generator().manual_seed(5), {})


@pytest.mark.parametrize("quantile", [0.001, 0.5, 0.9, 0.999, 1.0])
@pytest.mark.parametrize("batch", [1, 7, 500])
def test_quantiles_are_those_of_sorting_everything(quantile: float, batch: int) -> None:
    model, images = make_model(), make_data().originals.inputs
    places = [place.module for place in rectified(model, images[:2])]
    outputs: dict[str, torch.Tensor] = {}
    for name in places:
        hook = model.get_submodule(name).register_forward_hook(
            lambda _m, _i, out, name=name: outputs.__setitem__(name, out.clone())
        )
        with torch.no_grad():
            model(images)
        hook.remove()
    got = activation_quantiles(model, places, images, quantile, batch)
    for name, found in zip(places, got, strict=True):
        for channel, value in enumerate(found.tolist()):
            ordered = sorted(outputs[name][:, channel].clamp(min=0).flatten().tolist())
            expected = ordered[max(1, math.ceil(quantile * len(ordered) - 1e-9)) - 1]
            assert value == pytest.approx(expected, abs=1e-6)


def test_the_first_loss_is_that_of_a_slow_loop() -> None:
    """One batch of all trusted samples: the loss before any step, term by term in float64."""
    model, data = dense(), vectors()
    purifier = ActivationBounds(quantile=0.6, mu=0.3, epochs=1, batch_size=100)
    weights = {name: tensor.double().tolist() for name, tensor in model.state_dict().items()}
    guide, trusted = told(data, wrong=(2, 7)), [i for i in range(12) if i not in (2, 7)]

    def hidden(x: list[float]) -> list[float]:
        rows = zip(weights["features.0.weight"], weights["features.0.bias"], strict=True)
        return [max(0.0, sum(a * b for a, b in zip(row, x, strict=True)) + bias) for row, bias in rows]

    def log_softmax(units: list[float]) -> list[float]:
        rows = zip(weights["classifier.weight"], weights["classifier.bias"], strict=True)
        scores = [sum(a * b for a, b in zip(row, units, strict=True)) + bias for row, bias in rows]
        total = math.log(sum(math.exp(score) for score in scores))
        return [score - total for score in scores]

    inputs, labels = data.originals.inputs.double().tolist(), data.originals.labels.tolist()
    columns = zip(*map(hidden, inputs), strict=True)
    z = [sorted(column)[math.ceil(0.6 * 12) - 1] for column in columns]
    total = 0.0
    for i in trusted:
        units = hidden(inputs[i])
        free, bounded = log_softmax(units), log_softmax([min(a, b) for a, b in zip(units, z, strict=True)])
        total += -bounded[labels[i]] + sum(math.exp(f) * (f - b) for f, b in zip(free, bounded, strict=True))
    expected = total / len(trusted) + 0.3 * sum(z) / len(z)
    facts = purify(purifier, model, data, guide).facts
    assert facts["loss_first"] == pytest.approx(expected, rel=1e-5)
    assert (facts["bounds"], facts["trusted"]) == (5.0, 10.0)
    assert facts["mean_bound_first"] == pytest.approx(sum(z) / 5, rel=1e-5)


def test_parameters_and_buffers_stay_bit_for_bit_and_bounds_are_put_on() -> None:
    model, data = make_model(), make_data()
    parameters, buffers = flatten_parameters(model), flatten_buffers(model)
    result = purify(ActivationBounds(mu=1.0, epochs=8), model, data, make_guide(data))
    assert torch.equal(flatten_parameters(model), parameters)
    assert torch.equal(flatten_buffers(model), buffers)
    bounds = bounds_of(model)
    assert {name: len(z) for name, z in bounds.items()} == {
        p.module: p.channels for p in rectified(model, torch.rand(2, *INFO.shape))
    }
    assert all(bool((z >= 0).all()) for z in bounds.values())
    assert result.facts["mean_bound_last"] < result.facts["mean_bound_first"]
    assert result.facts["loss_last"] < result.facts["loss_first"]


def test_bounds_begin_anew_every_round() -> None:
    """A model that has bounds already is purified as one without them."""
    data = make_data()
    free, bounded = make_model(), make_model()
    set_bounds(bounded, {"features.1": torch.full((4,), 1e-3)})
    for model in (free, bounded):
        purify(ActivationBounds(), model, data, make_guide(data))
    first, second = bounds_of(free), bounds_of(bounded)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_labels_of_suspicious_samples_are_ignored() -> None:
    """The guide calls row 4 class 2; whether the set calls it 0 or 1, it is suspicious."""
    found = []
    for label in (0, 1):
        data = vectors()
        data.originals.labels[4] = label
        guide = told(data)
        guide.logits[4] = 10.0 * torch.eye(3)[2]
        model = dense()
        assert purify(ActivationBounds(mu=1.0), model, data, guide).facts["trusted"] == 11.0
        found.append(bounds_of(model)["features.0"])
    assert torch.equal(found[0], found[1])


def test_a_wild_learning_rate_leaves_a_finite_model() -> None:
    model, data = make_model(), make_data()
    facts = purify(ActivationBounds(lr=1e30), model, data, make_guide(data)).facts
    assert facts["diverged"] == 0.0
    assert all(bool(torch.isfinite(z).all()) for z in bounds_of(model).values())
    with torch.no_grad():
        assert bool(torch.isfinite(model(data.originals.inputs)).all())


def test_a_broken_model_gets_no_bounds() -> None:
    model, data = make_model(), make_data()
    with torch.no_grad():
        next(model.parameters())[0] = float("nan")
    assert purify(ActivationBounds(), model, data, make_guide(data)).facts == {"diverged": 1.0}
    assert bounds_of(model) == {}


def test_without_trusted_samples_the_quantile_stays() -> None:
    model, data = dense(), vectors()
    guide = told(data, wrong=tuple(range(12)))
    facts = purify(ActivationBounds(quantile=0.9), model, data, guide).facts
    assert facts["trusted"] == 0.0
    assert "loss_first" not in facts
    (place,) = bounds_of(model)
    expected = activation_quantiles(dense(), [place], data.originals.inputs, 0.9)[0]
    assert torch.equal(bounds_of(model)[place], expected)


def test_all_can_be_trusted_without_a_guide() -> None:
    data = vectors()
    assert not ActivationBounds(trusted="all").needs.guide
    assert purify(ActivationBounds(trusted="all"), dense(), data, None).facts["trusted"] == 12.0


def test_a_model_without_activations_is_left_alone() -> None:
    model = SplitModel(nn.Linear(4, 5), 5, TINY).eval()
    data = vectors()
    assert purify(ActivationBounds(), model, data, told(data)).facts == {"bounds": 0.0, "diverged": 0.0}
    assert bounds_of(model) == {}


def test_a_sample_is_trusted_by_a_guide_that_says_something() -> None:
    """Of NaN argmax makes class 0, and -1 stands for no class and for no label alike."""
    data = vectors()
    labels = data.originals.labels.clone()
    guide = told(data)
    guide.logits[0] = torch.nan
    guide.logits[4], labels[4] = torch.nan, -1
    unlabelled = ServerData(Labeled(data.originals.inputs, labels), None, (), {})
    found = purify(ActivationBounds(epochs=1), dense(), unlabelled, guide)
    assert found.facts["trusted"] == 10
