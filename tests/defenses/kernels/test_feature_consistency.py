"""Feature shifts, likeness of class centres, the two tails of a distribution."""

from __future__ import annotations

import math

import pytest
import torch

from defenses.kernels.feature_consistency import centre_likeness, feature_shift, tails


def test_shift() -> None:
    a, b = torch.tensor([[0.0, 0.0], [1.0, 2.0], [torch.nan, 0.0]]), torch.tensor([[1.0, 3.0], [1.0, 2.0], [0.0, 0.0]])
    assert feature_shift(a, b).tolist() == [5.0, 0.0, 5.0]
    assert feature_shift(a[2:], b[2:]).tolist() == [0.0]


def test_likeness_of_two_centres() -> None:
    features = torch.tensor([[2.0, 0.0], [0.0, 0.0], [3.0, 3.0]])
    found = float(centre_likeness(features, torch.tensor([4, 4, 7])))
    assert found == pytest.approx(2 * math.sqrt(0.5) / 4, abs=1e-6)


def test_one_class_has_no_other_to_be_like() -> None:
    features = torch.ones(3, 2, requires_grad=True)
    found = centre_likeness(features, torch.zeros(3, dtype=torch.int64))
    assert float(found.detach()) == 0.0
    found.backward()
    assert bool(torch.isfinite(features.grad).all())


def test_tails_are_disjoint_and_never_empty() -> None:
    low, high = tails(torch.arange(20.0).flip(0), 0.2, 0.05)
    assert (low.tolist(), high.tolist()) == ([16, 17, 18, 19], [0])
    assert [rows.tolist() for rows in tails(torch.tensor([2.0, 2.0]), 0.2, 0.05)] == [[0], [1]]
    low, high = tails(torch.arange(4.0), 0.9, 0.9)
    assert (low.tolist(), high.tolist()) == ([0, 1, 2], [3])
    with pytest.raises(ValueError, match="two tails of 1 values"):
        tails(torch.zeros(1), 0.2, 0.05)
