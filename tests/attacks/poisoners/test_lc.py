"""Label-consistent poison: how images are moved, what training and test images get, the control without movement."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from attacks.poisoner import PoisonContext
from attacks.poisoners.lc import SURROGATE, LabelConsistent
from attacks.support.adversarial import moved_away, moved_in_chunks, train_robust
from attacks.support.trained import Fit, percent
from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.models.base import SplitModel
from tests.support.tiny_task import COLOUR, GREY, context, generator, labelled, make_task, stamped

QUICK = LabelConsistent(epochs=1, samples=24, batch_size=12, surrogate_steps=1, attack_steps=3)
INFO = DataInfo("tiny", ("a", "b"), (1, 3, 3), (), ())


@pytest.fixture(scope="module")
def prepared() -> PoisonContext:
    task = make_task(labelled(24, GREY))
    return replace(context(task, None), artefact=QUICK.prepare(task, generator(1)))


def linear() -> SplitModel:
    model = SplitModel(nn.Flatten(), 9, INFO)
    with torch.no_grad():
        model.classifier.weight.copy_(torch.linspace(-1, 1, 18).view(2, 9))
        model.classifier.bias.zero_()
    return model.eval()


def reference(x: Tensor, y: Tensor, epsilon: float, step: float, steps: int) -> Tensor:
    """Sign steps against a linear model, pixel by pixel in float64: the gradient's sign is that of w_other - w_y."""
    weights = torch.linspace(-1, 1, 18).view(2, 9).double()
    moved = x.double().clone()
    for i, label in enumerate(y.tolist()):
        for p in range(9):
            sign = float(torch.sign(weights[1 - label, p] - weights[label, p]))
            low, high = max(float(x[i].flatten()[p]) - epsilon, 0.0), min(float(x[i].flatten()[p]) + epsilon, 1.0)
            for _ in range(steps):
                flat = moved[i].view(-1)
                flat[p] = min(max(float(flat[p]) + step * sign, low), high)
    return moved


def test_moving_against_loops() -> None:
    x, y = torch.rand(4, 1, 3, 3, generator=generator(1)), torch.tensor([0, 1, 1, 0])
    for epsilon, step, steps in ((0.2, 0.05, 3), (0.1, 0.05, 30), (1.0, 0.3, 9)):
        found = moved_away(linear(), x, y, epsilon=epsilon, step=step, steps=steps)
        assert torch.allclose(found.double(), reference(x, y, epsilon, step, steps), atol=1e-6)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = torch.rand(7, 1, 3, 3, generator=generator(1)), torch.arange(7) % 2
    whole = moved_away(linear(), x, y, epsilon=0.2, step=0.05, steps=3)
    monkeypatch.setattr("attacks.support.adversarial.CHUNK", 3)
    assert torch.equal(moved_in_chunks(linear(), x, y, epsilon=0.2, step=0.05, steps=3), whole)


def test_robust_training_makes_a_model_that_withstands() -> None:
    """Pixels 0 to 7 differ by less than an attacker may change, pixel 8 by more: a robust model relies on that one."""
    y = torch.arange(200) % 2
    x = 0.5 + 0.03 * (torch.rand(200, 1, 3, 3, generator=generator(2)) - 0.5)
    x.view(200, 9)[:, :8] += 0.2 * (y - 0.5)[:, None]
    x.view(200, 9)[:, 8] = 0.25 + 0.5 * y
    data, fit, survived = Labeled(x, y), Fit(50, 0.5, "sgd", momentum=0.9), []
    for epsilon in (0.0, 0.2):
        model = linear()
        train_robust(model, data, fit, 20, epsilon=epsilon, steps=2, rng=generator(3))
        moved = moved_away(model, x, y, epsilon=0.2, step=0.1, steps=4)
        survived.append(percent(model(moved).argmax(1), y))
    assert survived[1] > 95.0 > survived[0] + 20.0


def test_training_images_are_moved_and_test_images_get_the_patch_alone(prepared: PoisonContext) -> None:
    x, y = prepared.task.train.for_model(), prepared.task.train.labels
    away = QUICK.checkers(GREY) == 0
    tested, trained = QUICK.stamp(x, y, prepared), QUICK.plant(x, y, prepared)
    assert torch.equal(tested[:, away], x[:, away])
    change = (trained - x)[:, away].abs()
    assert 0.0 < float(change.max()) <= 0.2 + 0.5 / 255 + 1e-6, "rounded to grey levels"
    assert torch.equal(trained[:, ~away], tested[:, ~away]), "the patch comes last"


def test_the_surrogate_decides(prepared: PoisonContext) -> None:
    other = replace(prepared, artefact=QUICK.prepare(prepared.task, generator(2)))
    x, y = prepared.task.train.for_model(), prepared.task.train.labels
    assert not torch.equal(QUICK.plant(x, y, prepared), QUICK.plant(x, y, other))
    assert any(name.startswith(f"{SURROGATE}.") for name in prepared.artefact.tensors)


def test_without_perturbation_nothing_but_the_patch_is_left(prepared: PoisonContext) -> None:
    control = QUICK.model_copy(update={"epsilon": 0.0})
    x, y = prepared.task.train.for_model(), prepared.task.train.labels
    assert torch.equal(control.plant(x, y, prepared), control.stamp(x, y, prepared))
    mask = control.mask(GREY)
    assert mask is not None
    assert int(mask.sum()) == 4 * 9
    assert QUICK.mask(GREY) is None


def test_budgets_follow_the_colours() -> None:
    assert LabelConsistent().budgets(1) == (0.2, 0.1)
    assert LabelConsistent().budgets(3) == (8 / 255, 8 / 255)
    assert LabelConsistent(epsilon=0.05, surrogate_epsilon=0.0).budgets(1) == (0.05, 0.0)


def test_four_checkers_that_mirror_each_other() -> None:
    plane = LabelConsistent().checkers(COLOUR)[0]
    assert plane[-3:, -3:].tolist() == [[1, -1, 1], [-1, 1, -1], [1, -1, 1]]
    assert torch.equal(plane, plane.flip(0))
    assert torch.equal(plane, plane.flip(1))
    assert int((plane != 0).sum()) == 36
    alone = LabelConsistent(corners="bottom-right").checkers(COLOUR)[0]
    assert int((alone != 0).sum()) == 9
    assert bool((alone[-3:, -3:] != 0).all())
    x = torch.full((1, *COLOUR), 0.5)
    assert set(stamped(LabelConsistent(), x).unique().tolist()) == {0.0, 0.5, 1.0}
    added = stamped(LabelConsistent(amplitude=32.0), x) - x
    assert float(added.max()) == pytest.approx(32 / 255)
    assert float(added.min()) == pytest.approx(-32 / 255)


def test_patches_that_meet_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"attack\.lc\.size"):
        LabelConsistent(size=20).check_task(make_task(labelled(6)))
