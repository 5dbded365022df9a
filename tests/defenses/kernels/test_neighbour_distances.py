"""Neighbour distances and the simplified local outlier factor, against loops."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from defenses.kernels.neighbour_distances import FLOOR, kth_distance, slof


def points(n: int = 30, seed: int = 0) -> Tensor:
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(seed)).double()


def obvious_slof(rows: Tensor, k: int) -> list[float]:
    """By the definition, one row at a time."""
    n = len(rows)
    k = min(k, n - 1)
    apart = [[float((a - b).norm()) for b in rows] for a in rows]
    near = [sorted((d, j) for j, d in enumerate(apart[i]) if j != i)[:k] for i in range(n)]
    reach = [of_row[-1][0] for of_row in near]
    return [sum(reach[i] / reach[j] for _, j in near[i]) / k for i in range(n)]


@pytest.mark.parametrize("k", [1, 5, 16, 99])
def test_the_factor_is_that_of_the_definition(k: int) -> None:
    assert slof(points(), k).tolist() == pytest.approx(obvious_slof(points(), k))


def test_the_kth_distance_is_the_kth() -> None:
    a, b = points(7), points(9, 1)
    for k in (1, 4, 9):
        expected = [sorted(float((x - y).norm()) for y in b)[k - 1] for x in a]
        assert kth_distance(a, b, k).tolist() == pytest.approx(expected)
    assert torch.equal(kth_distance(a, b, 50), kth_distance(a, b, 9)), "all there are"


def test_a_row_far_from_a_cluster_stands_out() -> None:
    rows = torch.cat([points(25) * 0.1, torch.full((1, 4), 9.0).double()])
    factors = slof(rows, 5)
    assert int(factors.argmax()) == 25
    assert factors[:25].max() < 3.0 < factors[25]


def test_scale_and_order_don_t_matter() -> None:
    rows, order = points(), torch.randperm(30, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(slof(rows * 1e3, 5), slof(rows, 5))
    assert torch.allclose(slof(rows[order], 5), slof(rows, 5)[order])


def test_copies_and_lone_rows_have_a_factor() -> None:
    assert slof(points(1), 5).tolist() == [1.0]
    assert slof(torch.zeros(6, 3).double(), 2).tolist() == pytest.approx([1.0] * 6)
    assert kth_distance(torch.zeros(1, 3).double(), torch.zeros(1, 3).double(), 1).tolist() == [FLOOR]
