"""Bezier curves: worked weights, ends, memory of their own."""

from __future__ import annotations

import pytest
import torch

from defenses.kernels.bezier import bezier_weights, on_curve, straight_points


def test_worked() -> None:
    assert bezier_weights(0.1, 3).tolist() == pytest.approx([0.81, 0.18, 0.01])
    assert bezier_weights(0.5, 2).tolist() == pytest.approx([0.5, 0.5])
    for bends in (2, 3, 5, 9):
        assert float(bezier_weights(0.3, bends).sum()) == pytest.approx(1.0)


def test_the_ends_are_the_curves_ends() -> None:
    points = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(on_curve(points, 0.0), points[0])
    assert torch.equal(on_curve(points, 1.0), points[-1])


def test_a_straight_curve_is_the_straight_line() -> None:
    start, end = torch.tensor([0.0, 2.0]), torch.tensor([4.0, -2.0])
    points = straight_points(start, end, 5)
    assert points.tolist() == [[0.0, 2.0], [1.0, 1.0], [2.0, 0.0], [3.0, -1.0], [4.0, -2.0]]
    for t in (0.0, 0.1, 0.5, 0.9):
        assert torch.allclose(on_curve(points, t), start + t * (end - start))


def test_no_two_points_share_memory() -> None:
    """Public code makes the points between by multiplying a list: beyond three bends they are one and the same."""
    start = torch.zeros(3)
    points = straight_points(start, torch.zeros(3), 6)
    points[2] += 1.0
    assert points.sum(1).tolist() == [0.0, 0.0, 3.0, 0.0, 0.0, 0.0]
    assert torch.equal(start, torch.zeros(3))
