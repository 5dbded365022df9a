"""The one fitting loop."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from fedcrucible_core.config.sections import TrainingSection
from fedcrucible_core.learning.fit import FitHook, batch_norm_mode, minimise, training_mode

PLAIN = TrainingSection(batch_size=2, lr=0.5, momentum=0.0)


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(4)


def test_worked_by_hand() -> None:
    w = torch.tensor(1.0, requires_grad=True)
    # loss w^2 / 2 over one batch of two: w = w - 0.5 w each step, losses before each step
    losses = minimise([w], lambda _: 0.5 * w * w, 2, PLAIN, rng(), epochs=3)
    assert float(w) == pytest.approx(0.125)
    assert losses == pytest.approx([0.5, 0.125, 0.03125])
    assert w.grad is None


def test_every_row_is_seen_once_an_epoch_and_a_lone_last_one_joins_its_neighbours() -> None:
    w, seen = torch.zeros(1, requires_grad=True), []

    def loss(rows: Tensor) -> Tensor:
        seen.append(rows.tolist())
        return w.sum() * 0.0

    minimise([w], loss, 5, PLAIN, rng(), epochs=2)
    assert [len(rows) for rows in seen] == [2, 3, 2, 3]
    assert sorted(seen[0] + seen[1]) == sorted(seen[2] + seen[3]) == [0, 1, 2, 3, 4]
    assert seen[0] + seen[1] == torch.randperm(5, generator=rng()).tolist()


def test_only_the_given_parameters_change_or_get_a_gradient() -> None:
    w, other = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)
    minimise([w], lambda _: (w * other).sum(), 2, PLAIN, rng())
    assert float(other) == 1.0
    assert other.grad is None
    assert float(w) == 0.5


def test_the_gradient_is_clipped() -> None:
    w = torch.zeros(2, requires_grad=True)
    minimise([w], lambda _: (w * torch.tensor([30.0, 40.0])).sum(), 2, PLAIN, rng(), clip=1.0)
    assert w.tolist() == pytest.approx([-0.3, -0.4], rel=1e-4)


def test_a_hook_changes_the_objective_the_gradient_and_the_step_but_not_the_reported_loss() -> None:
    w = torch.ones(1, requires_grad=True)
    told = []

    class Hook(FitHook):
        def loss(self, loss: Tensor) -> Tensor:
            return 3.0 * loss

        def after_backward(self) -> None:
            assert w.grad is not None
            told.append(float(w.grad))
            w.grad.mul_(2.0)

        def after_step(self, *, last_of_epoch: bool) -> None:
            told.append(last_of_epoch)

    losses = minimise([w], lambda _: w.sum(), 4, PLAIN, rng(), hook=Hook())
    assert told == [3.0, False, 3.0, True]
    assert losses == pytest.approx([(1.0 - 2.0) / 2])


def test_before_epoch_runs_outside_the_mode() -> None:
    w, inside, found = torch.ones(1, requires_grad=True), [], []

    @contextlib.contextmanager
    def mode() -> Iterator[None]:
        inside.append(True)
        yield
        inside.pop()

    def loss(_: Tensor) -> Tensor:
        found.append(bool(inside))
        return w.sum()

    minimise([w], loss, 2, PLAIN, rng(), epochs=2, mode=mode, before_epoch=lambda: found.append(bool(inside)))
    assert found == [False, True, False, True]


def test_modes() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout())
    with training_mode(model):
        assert model[1].training
    assert not model.training
    with batch_norm_mode(model, "train"):
        assert (model[0].training, model[1].training) == (True, False)
    with batch_norm_mode(model, "eval"):
        assert not model[0].training


@pytest.mark.parametrize(("parameters", "n", "text"), [([torch.ones(1)], 2, "no parameter"), ([], 2, "no parameter")])
def test_nothing_to_train_is_refused(parameters: list[Tensor], n: int, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        minimise(parameters, lambda _: torch.ones(1), n, PLAIN, rng())


def test_no_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="there are no samples"):
        minimise([torch.ones(1, requires_grad=True)], lambda _: torch.ones(1), 0, PLAIN, rng())


@pytest.mark.parametrize("optimiser", ["adam", "adamw"])
def test_the_section_chooses_the_optimiser(optimiser: str) -> None:
    w = torch.tensor([5.0, -5.0], requires_grad=True)
    section = TrainingSection(batch_size=2, lr=0.5, optimiser=optimiser)
    minimise([w], lambda _: (w * torch.tensor([1e-3, 1e3])).sum(), 2, section, rng())
    assert w.tolist() == pytest.approx([4.5, -5.5], abs=1e-3), "the first step is as long as the learning rate"


def _with_dropout(rng: torch.Generator) -> Tensor:
    with torch.random.fork_rng(devices=[]):
        model = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.linspace(-1.0, 1.0, parameter.numel()).view(parameter.shape))
    x = torch.linspace(-1.0, 1.0, 48).view(8, 6)
    slow = TrainingSection(batch_size=2, lr=0.01, momentum=0.0)
    minimise(model.parameters(), lambda rows: model(x[rows]).square().mean(), 8, slow, rng, epochs=2,
             mode=lambda: training_mode(model))  # fmt: skip
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_what_is_dropped_out_follows_from_the_generator_alone() -> None:
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first = _with_dropout(rng())
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(_with_dropout(rng()), first)
    assert not torch.equal(_with_dropout(torch.Generator().manual_seed(5)), first)


def test_two_fits_that_share_a_generator_drop_out_different_units() -> None:
    shared = rng()
    dropped: list[Tensor] = []
    w = torch.zeros(1, requires_grad=True)

    def loss(rows: Tensor) -> Tensor:
        dropped.append(torch.nn.functional.dropout(torch.ones(64), 0.5))
        return w.sum() * 0.0

    for _ in range(2):
        minimise([w], loss, 2, PLAIN, shared)
    assert not torch.equal(dropped[0], dropped[1])


def test_the_generator_itself_is_not_moved_by_what_layers_draw() -> None:
    shared = rng()
    w = torch.zeros(1, requires_grad=True)
    minimise([w], lambda _: w.sum() + torch.rand(3).sum() * 0.0, 4, PLAIN, shared, epochs=2)
    expected = rng()
    for _ in range(2):
        torch.randperm(4, generator=expected)
    assert torch.equal(shared.get_state(), expected.get_state())


def test_a_schedule_scales_the_learning_rate_by_epoch() -> None:
    w = torch.tensor(1.0, requires_grad=True)
    losses = minimise([w], lambda _: w * 1.0, 2, PLAIN, rng(), epochs=3, schedule=lambda epoch: 1.0 / (1 + epoch))
    assert losses == pytest.approx([1.0, 0.5, 0.25])
    assert float(w) == pytest.approx(1.0 - 0.5 - 0.25 - 0.5 / 3)
