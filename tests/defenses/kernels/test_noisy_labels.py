"""Robust losses: worked numbers, references in plain Python, limits."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from defenses.kernels.noisy_labels import held_up, raised_cross_entropy, symmetric_cross_entropy

LOGITS = 3.0 * torch.randn(9, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.arange(9) % 5


def test_two_equal_classes() -> None:
    found = symmetric_cross_entropy(torch.zeros(1, 2, dtype=torch.float64), torch.tensor([0]))
    assert float(found) == pytest.approx(0.1 * math.log(2) + 0.5 * -math.log(1e-4))
    assert float(found) == pytest.approx(4.6745, abs=1e-4)


def test_against_the_formula_written_out() -> None:
    found = symmetric_cross_entropy(LOGITS, LABELS, 0.3, 2.0)
    for row, label, value in zip(LOGITS.tolist(), LABELS.tolist(), found.tolist(), strict=True):
        powers = [math.exp(x) for x in row]
        p = [x / sum(powers) for x in powers]
        reverse = -sum(q * math.log(1.0 if c == label else 1e-4) for c, q in enumerate(p))
        assert value == pytest.approx(0.3 * -math.log(p[label]) + 2.0 * reverse, rel=1e-6)


def test_it_stays_finite_and_bounded_where_a_label_is_impossible() -> None:
    extreme = torch.tensor([[1e4, -1e4], [0.0, 200.0]], requires_grad=True)
    found = symmetric_cross_entropy(extreme, torch.tensor([1, 0]), a=0.0)
    assert bool(torch.isfinite(found).all())
    assert float(found.detach().max()) <= -math.log(1e-4) + 1e-4
    found.sum().backward()
    assert bool(torch.isfinite(extreme.grad).all())


def test_flooding_by_batch_and_by_sample() -> None:
    losses = torch.tensor([0.1, 0.7])
    assert float(held_up(losses, 0.5, "flooding")) == pytest.approx(0.6)
    assert float(held_up(losses, 0.5, "flooding", per_sample=True)) == pytest.approx(0.8)
    assert float(held_up(losses, 0.5, "lga")) == pytest.approx(-0.4)
    assert float(held_up(losses, 0.5, "lga", per_sample=True)) == pytest.approx(0.3)


@pytest.mark.parametrize("kind", ["flooding", "lga"])
def test_below_gamma_the_loss_is_ascended(kind) -> None:
    for value, sign in ((0.2, -1.0), (0.9, 1.0)):
        losses = torch.full((4,), value, requires_grad=True)
        held_up(losses, 0.5, kind).backward()
        assert torch.equal(losses.grad, torch.full((4,), sign / 4))


def test_without_a_floor_it_is_the_mean() -> None:
    losses = torch.rand(7, generator=torch.Generator().manual_seed(1))
    for kind in ("flooding", "lga"):
        for by_sample in (True, False):
            assert torch.allclose(held_up(losses, 0.0, kind, per_sample=by_sample), losses.mean())


def test_raising_is_minus_lowering() -> None:
    assert torch.equal(raised_cross_entropy(LOGITS, LABELS), -F.cross_entropy(LOGITS, LABELS))
