"""Input-aware triggers: the losses, the two kinds of samples, and gradients that are zeroed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from attacks.poisoners.iab import GENERATOR, Iab
from attacks.support import input_aware_training
from attacks.support.input_aware import (
    Translator,
    density_excess,
    distance,
    diversity,
    fitting_steps,
    put_on,
    sharpened,
)
from attacks.support.input_aware_training import Joint, JointSettings
from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.models import MODELS
from fedcrucible_core.learning.optimisers import Adam
from tests.support.tiny_task import COLOUR, GREY, context, generator, labelled, make_task

SMALL = (1, 8, 8)
QUICK = Iab(epochs=1, mask_epochs=1, samples=24, batch_size=12, width=4)


def test_losses_against_loops() -> None:
    a, b, c, d = (torch.rand(5, 1, 4, 4, generator=generator(k), dtype=torch.float64) for k in range(4))
    ratios = []
    for i in range(5):
        inputs = math.sqrt(np.mean((a[i] - b[i]).numpy() ** 2))
        made = math.sqrt(np.mean((c[i] - d[i]).numpy() ** 2))
        ratios.append(inputs / (made + 1e-7))
    assert float(diversity(a, b, c, d)) == pytest.approx(np.mean(ratios), rel=1e-9)
    excess = [max(float(value) - 0.3, 0.0) for value in a.flatten()]
    assert float(density_excess(a, 0.3)) == pytest.approx(np.mean(excess), rel=1e-9)


def test_worked_numbers() -> None:
    assert sharpened(torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)).tolist() == pytest.approx(
        [0.0, 0.5, 1.0], abs=1e-8
    )
    x, pattern = torch.full((1, 1, 2, 2), 0.2), torch.full((1, 1, 2, 2), 0.8)
    assert torch.allclose(put_on(x, pattern, torch.full((1, 1, 2, 2), 0.5)), torch.full((1, 1, 2, 2), 0.5))
    assert float(distance(x, pattern)) == pytest.approx(0.6)


def test_equal_inputs_have_a_finite_diversity_and_gradient() -> None:
    x = torch.rand(2, 1, 4, 4, generator=generator()).requires_grad_()
    value = diversity(x, x.detach().clone(), x, x.detach().clone())
    (gradient,) = torch.autograd.grad(value, x)
    assert bool(torch.isfinite(value))
    assert bool(torch.isfinite(gradient).all())


@pytest.mark.parametrize(("side", "steps"), [(32, 3), (28, 2), (30, 1), (27, 0), (64, 3)])
def test_images_are_halved_as_often_as_they_can(side: int, steps: int) -> None:
    assert fitting_steps(side, side) == steps
    made = Translator(1, 1, 4, steps).eval()(torch.rand(2, 1, side, side))
    assert made.shape == (2, 1, side, side)
    assert 0.0 <= float(made.detach().min()) <= float(made.detach().max()) <= 1.0


def test_halvings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"attack\.iab\.steps.*3"):
        Iab(steps=3).check_task(make_task(labelled(6, GREY)))
    Iab(steps=3).check_task(make_task(labelled(6, COLOUR)))


def gradients_of(accumulate: bool, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What the generator's optimiser was given in each step of one epoch of two batches."""
    given: list[Tensor] = []

    class Recorder(Adam):
        def step(self) -> None:
            given.append(torch.cat([p.grad.flatten().clone() for p in self.parameters if p.grad is not None]))
            super().step()

    monkeypatch.setattr(
        input_aware_training, "make_optimiser", lambda p, s: Recorder(p, s.lr, (s.beta1, s.beta2), s.epsilon, 0.0)
    )
    task = make_task(labelled(24, SMALL))
    torch.manual_seed(3)
    generating, mask = Translator(1, 1, 4, 1), Translator(1, 1, 4, 1).eval()
    victim = MODELS.create("cnn", {"width": 4, "hidden": 8}).build(task.info, 1)
    data = replace(task.train, inputs=task.train.for_model())
    settings = JointSettings(2, 1, 12, 0.01, 0.5, 1.0, 1.0, accumulate)
    Joint(generating, mask, victim).train(data, settings, generator(5))
    return given


def test_gradients_of_the_generator_are_zeroed_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Public code never zeroes them, so that each step follows the sum of all before."""
    fresh, summed = (gradients_of(accumulate, monkeypatch) for accumulate in (False, True))
    assert len(fresh) == len(summed) == 2
    assert torch.equal(fresh[0], summed[0])
    assert torch.allclose(summed[1], fresh[0] + fresh[1], atol=1e-4, rtol=1e-3)
    assert not torch.allclose(fresh[1], summed[1], atol=1e-4, rtol=1e-3)


def test_images_of_the_target_class_are_never_triggered_in_the_loop() -> None:
    task = make_task(labelled(12, SMALL))
    joint = Joint(
        Translator(1, 1, 4, 1), Translator(1, 1, 4, 1).eval(), MODELS.create("cnn", {"width": 4}).build(task.info, 1)
    )
    x, y = task.train.for_model(), torch.full((12,), 2)
    settings = JointSettings(2, 1, 12, 0.01, 1.0, 1.0, 1.0, accumulate=False)
    found = joint.loss(x, y, x.flip(0), settings, generator())
    assert float(found.detach()) == pytest.approx(float(torch.nn.functional.cross_entropy(joint.victim(x), y).detach()))


def test_poison_has_its_own_pattern_and_cross_samples_that_of_another_image() -> None:
    task = make_task(labelled(24, SMALL))
    ctx = replace(context(task, None), artefact=QUICK.prepare(task, generator(1)))
    x, y = task.train.for_model(), task.train.labels
    stamped, crossed = QUICK.stamp(x, y, ctx), QUICK.decoys(x, x.roll(1, 0), ctx)
    assert torch.equal(QUICK.decoys(x, x, ctx), stamped)
    assert bool((stamped != crossed).flatten(1).any(1).all())
    again = QUICK.decoys(x.roll(1, 0), x.roll(1, 0), ctx)
    assert torch.equal(QUICK.stamp(x.roll(1, 0), y, ctx), again)
    assert QUICK.decoy_count(7, 100) == 7
    made = QUICK.poison(task.train, ctx)
    assert torch.equal(made.data.labels[made.decoys], y[made.decoys]), "cross samples keep their labels"


def test_success_in_the_loop_is_told_with_and_without_the_target_class() -> None:
    task = make_task(labelled(24, SMALL))
    made = QUICK.prepare(task, generator(1))
    assert {"in_loop_asr_percent", "in_loop_asr_with_target_class_percent", "in_loop_cross_accuracy_percent"} <= set(
        made.facts
    )
    assert 0.0 <= float(made.facts["mask_mean"]) <= 1.0
    assert any(name.startswith(f"{GENERATOR}.") for name in made.tensors)
