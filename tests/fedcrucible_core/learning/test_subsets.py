"""Stratified orders and worked long-tail counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.datasets import long_tail, long_tail_counts, stratified_order


@pytest.mark.parametrize(
    ("factor", "counts", "total"),
    [
        (100, [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50], 12_406),
        (50, None, 13_996),
        (10, [5000, 3871, 2997, 2320, 1796, 1391, 1077, 834, 645, 500], 20_431),
        (1, [5000] * 10, 50_000),
    ],
)
def test_cifar10_long_tail_counts(factor, counts, total) -> None:
    found = long_tail_counts(5000, factor, 10)
    assert sum(found) == total
    assert counts is None or found == counts


def test_last_count_survives_rounding() -> None:
    for n_max in range(1, 400):
        assert long_tail_counts(n_max, n_max, 10)[-1] == 1
        assert long_tail_counts(n_max * 7, 7, 3)[-1] == n_max


def test_a_factor_that_empties_a_class_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"task.imbalance_factor = 501.0: allowed: 1 to 500"):
        long_tail_counts(500, 501.0, 10)


def test_long_tail_takes_exactly_the_counts() -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 5000))
    kept = long_tail(labels, 100, 10, np.random.default_rng(0))
    assert np.bincount(labels[kept]).tolist() == long_tail_counts(5000, 100, 10)
    assert np.all(np.diff(kept) > 0)


def test_long_tail_of_unequal_classes_gives_what_there_is() -> None:
    labels = np.repeat(np.arange(3), [100, 20, 400])
    kept = long_tail(labels, 4, 3, np.random.default_rng(0))
    assert np.bincount(labels[kept]).tolist() == [100, 20, 100]


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=8), seed=st.integers(0, 99))
def test_every_prefix_of_a_stratified_order_is_proportional(sizes, seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    order = stratified_order(labels, np.random.default_rng(seed))
    assert np.array_equal(np.sort(order), np.arange(len(labels)))
    counts = np.cumsum(labels[order][:, None] == np.arange(len(sizes)), axis=0)
    ideal = np.outer(np.arange(1, len(labels) + 1), sizes) / max(1, len(labels))
    assert np.all(np.abs(counts - ideal) <= len(sizes) / 2 + 1)
