"""I-BAU: the share of a batch that is changed, the inner problem, what the outer gradient is made of."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from defenses.kernels.hypergradient import implicit_gradients
from defenses.repairs.ibau import ImplicitBackdoorUnlearning, pixels
from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.models import ResNet8
from tests.support.planted import (
    INFO,
    TARGET,
    accuracy,
    context,
    pictures,
    planted_model,
    same_parameters,
    triggered,
)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("n", "changed"), [(1, 1), (20, 1), (99, 1), (100, 1), (250, 2)])
def test_a_batch_below_a_hundred_still_has_one_changed_picture(n: int, changed: int) -> None:
    """Public code changes int(.01 n) pictures: none of a batch below 100, and then nothing is unlearned."""
    repair, x = ImplicitBackdoorUnlearning(portion=0.01), torch.zeros(n, 1, 8, 8)
    found = repair.with_change(x, torch.ones(1, 1, 8, 8), rng())
    assert int(found.flatten(1).any(1).sum()) == changed


def test_no_portion_is_plain_fine_tuning() -> None:
    repair, x = ImplicitBackdoorUnlearning(portion=0.0), torch.rand(4, 1, 8, 8)
    assert torch.equal(repair.with_change(x, torch.ones(1, 1, 8, 8), rng()), x)


def test_the_change_finds_the_trigger() -> None:
    """The labels of the inner problem are the model's own: nothing that it already says is worth a change."""
    model, data = planted_model(), pictures(60)
    p = ImplicitBackdoorUnlearning(batch_size=20, inner_lr=1.0, steps=3).change(model, data)
    assert p.shape == (1, 1, 8, 8)
    with torch.no_grad():
        plain, changed = model(data.inputs), model(data.inputs + p)
    assert float(F.cross_entropy(changed, plain.argmax(1))) > float(F.cross_entropy(plain, plain.argmax(1)))


def test_the_outer_gradient_has_both_parts() -> None:
    model, data = planted_model(), pictures(20)
    repair, p = ImplicitBackdoorUnlearning(batch_size=20), 0.2 * torch.rand(1, 1, 8, 8, generator=rng(1))
    rows, weights = torch.arange(20), list(model.parameters())
    loss = repair._loss(model, data, rows, slice(0, 20), p, rng(2))
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    q = p.clone().requires_grad_()
    outer = F.cross_entropy(model(repair.with_change(data.inputs, q, rng(2))), data.labels)
    assert float(loss.detach()) == pytest.approx(float(outer.detach()), rel=1e-6)
    direct = torch.autograd.grad(outer, [*weights, q])
    implicit = implicit_gradients(
        lambda r: repair._inner(model, data.inputs, r), p, direct[-1], weights, repair.fixed_point_steps, 0.1
    )
    assert any(bool(part.abs().sum() > 0) for part in implicit)
    for got, a, b in zip(found, direct, implicit, strict=False):
        assert got is not None
        assert torch.allclose(got, a + b, atol=1e-5)


def test_the_change_is_in_units_of_normalised_pictures() -> None:
    """The published learning rates are those of code that normalises pictures before the change is added."""
    grey = DataInfo("grey", ("a", "b"), (1, 8, 8), (0.3,), (0.25,))
    model = ResNet8(width=4).build(grey, 1).eval()
    p = torch.rand(1, 1, 8, 8, generator=rng())
    assert torch.equal(pixels(model, p), 0.25 * p)
    x = pictures(4).inputs
    with torch.no_grad():
        assert torch.allclose(model(x + pixels(model, p)), model.head(model.features(model.first(x) + p)), atol=1e-5)


def test_it_weakens_the_plant_and_keeps_the_rest() -> None:
    def advantage() -> float:
        with torch.no_grad():
            logits = model(triggered(pictures(200, seed=9)).inputs)
        return float((logits[:, TARGET] - logits[:, 1:].amax(1)).mean())

    model = planted_model()
    before = advantage()
    facts = ImplicitBackdoorUnlearning(batch_size=16, lr=0.02, portion=0.3, rounds=6, inner_lr=1.0, steps=4).repair(
        model, context(clean=pictures(80))
    )
    assert facts["perturbation_norm"] > 0.0
    assert advantage() < 0.7 * before
    assert accuracy(model, pictures(100, seed=9)) > 95.0


def test_statistics_stay_and_no_round_changes_nothing() -> None:
    model = planted_model()
    ImplicitBackdoorUnlearning(rounds=1, steps=2).repair(model, context(clean=pictures(40)))
    assert torch.equal(
        model.get_buffer("features.1.running_mean"), planted_model().get_buffer("features.1.running_mean")
    )
    assert not model.training
    idle = planted_model()
    ImplicitBackdoorUnlearning(rounds=0).repair(idle, context(clean=pictures(40)))
    assert same_parameters(idle, planted_model())


def test_texts_are_refused_by_name() -> None:
    texts = DataInfo("words", ("a", "b"), (8,), (), (), task="text", tokenizer="wordnet")
    with pytest.raises(ConfigError, match=r"repair.name = 'i-bau': changes pictures by gradients"):
        ImplicitBackdoorUnlearning().check(planted_model(), texts)
    ImplicitBackdoorUnlearning().check(planted_model(), INFO)


def test_few_pictures_are_passed_over_until_the_steps_are_done() -> None:
    """The published schedule is one pass over 5,000 pictures: of 400 it would be four steps."""
    repair = ImplicitBackdoorUnlearning(steps=50, batch_size=100)
    assert [repair._passes(n) for n in (5000, 400, 90, 10_000)] == [1, 13, 50, 1]
