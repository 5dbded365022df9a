"""The light optimisers compute what torch's own do (SGD bit for bit), and keep its import out of clients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fedcrucible_core.config.sections import TrainingSection
from fedcrucible_core.learning.optimisers import SGD, Adam, AdamW, make_optimiser


def _train(light: bool, momentum: float, weight_decay: float) -> list[Tensor]:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 5))
    model[3].bias.requires_grad_(False)
    if light:
        optimiser: SGD | torch.optim.SGD = SGD(model.parameters(), 0.1, momentum, weight_decay)
    else:
        optimiser = torch.optim.SGD(model.parameters(), 0.1, momentum, weight_decay=weight_decay)
    for _ in range(5):
        x, y = torch.randn(6, 1, 8, 8), torch.randint(0, 5, (6,))
        optimiser.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimiser.step()
    return [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 5e-4])
def test_equals_torch_bit_for_bit(momentum: float, weight_decay: float) -> None:
    ours, theirs = _train(True, momentum, weight_decay), _train(False, momentum, weight_decay)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def _adam(ours: bool, decoupled: bool, weight_decay: float) -> list[Tensor]:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 5))
    betas = (0.8, 0.95)
    if ours:
        kind = AdamW if decoupled else Adam
        optimiser: Adam | torch.optim.Adam = kind(model.parameters(), 0.01, betas, 1e-7, weight_decay)
    else:
        theirs = torch.optim.AdamW if decoupled else torch.optim.Adam
        optimiser = theirs(model.parameters(), 0.01, betas, 1e-7, weight_decay, foreach=False)
    for _ in range(20):
        x, y = torch.randn(6, 1, 8, 8), torch.randint(0, 5, (6,))
        optimiser.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimiser.step()
    return [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adam_equals_torch_to_rounding(decoupled: bool, weight_decay: float) -> None:
    ours, theirs = _adam(True, decoupled, weight_decay), _adam(False, decoupled, weight_decay)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_decay_is_where_its_kind_puts_it() -> None:
    coupled, decoupled = _adam(True, False, 0.1), _adam(True, True, 0.1)
    assert not torch.allclose(coupled[0], decoupled[0], rtol=1e-3)


def _two_steps(optimiser: str, weight_decay: float) -> float:
    w = torch.tensor([1.0], requires_grad=True)
    section = TrainingSection(optimiser=optimiser, lr=0.1, beta1=0.5, beta2=0.75, weight_decay=weight_decay)
    moves = make_optimiser([w], section)
    for gradient in (2.0, -1.0):
        w.grad = torch.tensor([gradient])
        moves.step()
    return float(w)


def test_two_steps_by_hand() -> None:
    # sgd 0.9: v = 2, then 0.9 * 2 - 1 = 0.8: 1 - 0.2 - 0.08
    assert _two_steps("sgd", 0.0) == pytest.approx(0.72)
    # adam: step 1: m = 1, v = 1, corrected 2 and 4: 1 - 0.1 * 2 / 2 = 0.9
    # step 2: m = 0.5 * 1 - 0.5 = 0: no move
    assert _two_steps("adam", 0.0) == pytest.approx(0.9)
    # adamw, decay 0.5: w = 1 * 0.95 - 0.1 = 0.85; then 0.85 * 0.95 - 0
    assert _two_steps("adamw", 0.5) == pytest.approx(0.8075)


def test_a_parameter_without_gradient_stays() -> None:
    a, b = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    for kind in ("sgd", "adam", "adamw"):
        moves = make_optimiser([a, b], TrainingSection(optimiser=kind, weight_decay=0.1))
        a.grad, b.grad = torch.ones(2), None
        moves.step()
        assert b.tolist() == [1.0, 1.0]
    assert bool((a < 1).all())
