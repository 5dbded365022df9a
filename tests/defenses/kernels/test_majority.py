"""The closed form of the majority cluster agrees with two libraries and with a slow loop."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from defenses.kernels.majority import majority_cluster, majority_size
from tests.references.defense_references import core_by_thresholds


def distances_of(points: np.ndarray) -> torch.Tensor:
    x = torch.from_numpy(np.asarray(points, dtype=np.float64))
    return torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")


def random_case(seed: int) -> np.ndarray:
    """n in 5..30 points in 2..5 dimensions with 0 to just under half planted outliers, in random order."""
    g = np.random.default_rng(seed)
    n, r = int(g.integers(5, 31)), int(g.integers(2, 6))
    outliers = int(g.integers(0, (n + 1) // 2))
    points = g.normal(size=(n, r))
    points[:outliers] += g.normal(size=r) * g.uniform(1, 10)
    return g.permutation(points)


def test_closed_form_equals_hdbscan_and_scikit_learn_and_a_slow_loop() -> None:
    import hdbscan
    from sklearn.cluster import HDBSCAN

    rejected = 0
    for seed in range(400):
        points = random_case(seed)
        size = majority_size(len(points))
        distances = distances_of(points)
        got = majority_cluster(distances, size).numpy()
        theirs = hdbscan.HDBSCAN(min_cluster_size=size, min_samples=1, allow_single_cluster=True).fit_predict(points)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            also = HDBSCAN(min_cluster_size=size, min_samples=1, allow_single_cluster=True).fit_predict(points)
        assert np.array_equal(got, theirs == 0), seed
        assert np.array_equal(got, also == 0), seed
        assert np.array_equal(got, majority_cluster(distances, size, "hdbscan").numpy()), seed
        if seed < 60:
            assert np.flatnonzero(got).tolist() == core_by_thresholds(distances.numpy(), size), seed
        rejected += int((~got).sum())
    assert rejected > 400  # the cases do reject someone


def test_closed_form_equals_hdbscan_on_cosine_distances() -> None:
    for seed in range(100):
        x = torch.from_numpy(random_case(seed)) + 2.0
        unit = x / x.norm(dim=1, keepdim=True)
        distances = (1.0 - unit @ unit.T).clamp(min=0.0)
        distances = ((distances + distances.T) / 2).fill_diagonal_(0.0)
        size = majority_size(len(x))
        assert torch.equal(majority_cluster(distances, size), majority_cluster(distances, size, "hdbscan")), seed


METHODS = pytest.mark.parametrize("method", ["closed-form", "hdbscan"])


@METHODS
def test_six_near_zero_beat_four_near_ten(method: str) -> None:
    g = np.random.default_rng(0)
    points = np.concatenate([g.normal(0, 0.1, (6, 2)), g.normal(10, 0.1, (4, 2))])
    got = majority_cluster(distances_of(points), 6, method)  # type: ignore[arg-type]
    assert got.tolist() == [True] * 6 + [False] * 4


@METHODS
def test_ten_identical_points_are_all_accepted(method: str) -> None:
    assert bool(majority_cluster(torch.zeros(10, 10, dtype=torch.float64), 6, method).all())  # type: ignore[arg-type]


@METHODS
def test_everything_merged_at_the_deciding_distance_is_in(method: str) -> None:
    """0 1 2 3 on a line, one step apart: the third joins at the same distance as the fourth."""
    points = np.array([[0.0], [1.0], [2.0], [3.0], [50.0]])
    assert majority_cluster(distances_of(points), 3, method).tolist() == [True] * 4 + [False]  # type: ignore[arg-type]


@METHODS
def test_a_merge_of_two_blobs_takes_both(method: str) -> None:
    points = np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.25], [30.0]])
    got = majority_cluster(distances_of(points), 4, method)  # type: ignore[arg-type]
    assert got.tolist() == [True] * 6 + [False]


@METHODS
@pytest.mark.parametrize(("n", "accepted"), [(1, 1), (2, 2), (3, 2)])
def test_tiny_rounds(method: str, n: int, accepted: int) -> None:
    points = np.array([[0.0], [1.0], [9.0]])[:n]
    got = majority_cluster(distances_of(points), majority_size(n), method)  # type: ignore[arg-type]
    assert got.tolist() == [True] * accepted + [False] * (n - accepted)


@pytest.mark.parametrize("size", [3, 7])
def test_a_size_that_is_no_majority_raises(size: int) -> None:
    with pytest.raises(ValueError, match="above half"):
        majority_cluster(torch.zeros(6, 6), size)
