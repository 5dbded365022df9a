"""MixMatch's parts: worked numbers, the law of the mixing weight, the loss written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from defenses.kernels.semi_supervised import blended, mixing_weight, mixmatch_loss, sharpened


def test_sharpening() -> None:
    found = sharpened(torch.tensor([[0.6, 0.4], [0.5, 0.5], [1.0, 0.0]]), 0.5)
    assert torch.allclose(found, torch.tensor([[0.6923, 0.3077], [0.5, 0.5], [1.0, 0.0]]), atol=1e-4)
    p = torch.rand(4, 6, generator=torch.Generator().manual_seed(0)).softmax(1)
    assert torch.allclose(sharpened(p, 1.0), p)


def test_the_mixing_weight_has_the_law_of_the_larger_side_of_a_beta() -> None:
    rng = torch.Generator().manual_seed(0)
    found = np.array([mixing_weight(0.75, rng) for _ in range(1500)])
    assert found.min() >= 0.5
    assert found.max() <= 1.0
    drawn = np.random.default_rng(0).beta(0.75, 0.75, 200_000)
    wanted = np.maximum(drawn, 1 - drawn)
    assert found.mean() == pytest.approx(wanted.mean(), abs=0.015)
    for share in (0.25, 0.5, 0.75):
        assert np.quantile(found, share) == pytest.approx(np.quantile(wanted, share), abs=0.03)


def test_the_mixing_weight_follows_the_generator_alone() -> None:
    before = torch.get_rng_state()
    first, second = (mixing_weight(0.75, torch.Generator().manual_seed(4)) for _ in range(2))
    assert first == second
    assert torch.equal(before, torch.get_rng_state())
    assert 0.5 <= mixing_weight(1e-3, torch.Generator().manual_seed(1)) <= 1.0


def test_blending_keeps_the_sum_of_probabilities() -> None:
    values = torch.eye(3)
    found = blended(values, torch.tensor([1, 2, 0]), 0.75)
    assert torch.allclose(found, torch.tensor([[0.75, 0.25, 0.0], [0.0, 0.75, 0.25], [0.25, 0.0, 0.75]]))
    assert torch.equal(values, torch.eye(3))


def test_the_loss_against_its_formula() -> None:
    g = torch.Generator().manual_seed(2)
    logits = torch.randn(7, 3, generator=g, dtype=torch.float64)
    targets = torch.rand(7, 3, generator=g, dtype=torch.float64).softmax(1)
    p = logits.softmax(1)
    cross = -sum(float((targets[i] * p[i].log()).sum()) for i in range(4)) / 4
    square = sum(float((p[i, c] - targets[i, c]) ** 2) for i in range(4, 7) for c in range(3)) / 9
    assert float(mixmatch_loss(logits, targets, 4, 15.0)) == pytest.approx(cross + 15.0 * square)
    assert float(mixmatch_loss(logits[:4], targets[:4], 4, 15.0)) == pytest.approx(cross)
    assert float(mixmatch_loss(logits, targets, 4, 0.0)) == pytest.approx(cross)
