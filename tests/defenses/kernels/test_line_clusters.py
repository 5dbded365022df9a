"""Exact one-dimensional k-means and the gap statistic."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from defenses.kernels.line_clusters import count_clusters, upper_cluster, within_sums


def brute(values: list[float], clusters: int) -> float:
    """Smallest within-sum over every way to cut the sorted numbers."""
    ordered, best = sorted(values), np.inf
    for cuts in combinations(range(1, len(ordered)), clusters - 1):
        parts = np.split(np.array(ordered), list(cuts))
        best = min(best, sum(float(((p - p.mean()) ** 2).sum()) for p in parts))
    return best


def draws(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("seed", range(6))
def test_within_sums_are_the_best_over_all_cuts(seed: int) -> None:
    values = torch.randn(9, generator=draws(seed), dtype=torch.float64).mul(3).round(decimals=1)
    sums = within_sums(torch.stack([values.flip(0), values + 7]), 5).tolist()
    assert sums[0] == pytest.approx(sums[1], abs=1e-9)
    assert sums[0] == pytest.approx([brute(values.tolist(), k) for k in range(1, 6)], abs=1e-9)


def test_worked_sums() -> None:
    assert within_sums(torch.tensor([[0.0, 2.0, 10.0, 12.0]]), 4)[0].tolist() == pytest.approx([104, 4, 2, 0])


@pytest.mark.parametrize("seed", range(6))
def test_two_means_is_the_best_cut(seed: int) -> None:
    values = torch.randn(8, generator=draws(seed), dtype=torch.float64)
    upper = upper_cluster(values)
    parts = [values[upper].numpy(), values[~upper].numpy()]
    assert sum(float(((p - p.mean()) ** 2).sum()) for p in parts) == pytest.approx(brute(values.tolist(), 2))
    assert float(values[upper].min()) > float(values[~upper].max())


def test_two_means_in_the_order_given() -> None:
    assert upper_cluster(torch.tensor([9.0, 1.0, 1.1, 8.8])).tolist() == [True, False, False, True]
    assert upper_cluster(torch.tensor([2.0, 2.0, 2.0])).tolist() == [False] * 3
    assert upper_cluster(torch.tensor([2.0, 5.0, 2.0, 2.0])).tolist() == [False, True, False, False]


@pytest.mark.parametrize("seed", range(5))
def test_one_crowd_is_one_cluster_two_are_two_or_more(seed: int) -> None:
    crowd = torch.randn(40, generator=draws(seed), dtype=torch.float64)
    assert count_clusters(crowd, 7, 20, draws(seed)) == 1
    assert count_clusters(torch.cat([crowd, crowd[:10] + 12]), 7, 20, draws(seed)) == 2
    three = torch.cat([crowd, crowd[:20] + 20, crowd[20:] + 40])
    assert count_clusters(three, 7, 20, draws(seed)) == 3


def test_the_scale_is_irrelevant_and_the_draws_come_from_the_generator() -> None:
    crowd = torch.cat([torch.randn(15, generator=draws(0), dtype=torch.float64), torch.full((3,), 5.0).double()])
    before = torch.get_rng_state()
    first = count_clusters(crowd, 7, 10, draws(3))
    assert torch.equal(torch.get_rng_state(), before)
    assert count_clusters(1e-6 * crowd + 40, 7, 10, draws(3)) == first


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0], [3.0, 3.0, 3.0, 3.0]])
def test_too_few_or_equal_numbers_are_one_cluster(values: list[float]) -> None:
    assert count_clusters(torch.tensor(values), 7, 20, draws(0)) == 1
