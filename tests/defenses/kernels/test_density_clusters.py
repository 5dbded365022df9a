"""HDBSCAN with ties treated alike: the library where it has none, the definition, the order of points."""

from __future__ import annotations

import warnings

import hdbscan
import numpy as np
import pytest
import torch

from defenses.kernels.density_clusters import density_clusters, together
from tests.references.active_rules_references import hdbscan_by_levels

Groups = set[frozenset[int]]


def groups(labels: np.ndarray | torch.Tensor) -> Groups:
    values = np.asarray(labels)
    return {frozenset(np.flatnonzero(values == c).tolist()) for c in set(values.tolist()) if c >= 0}


def blobs(rng: np.random.Generator, n: int) -> np.ndarray:
    centres = 5 * rng.normal(size=(int(rng.integers(1, 4)), 2))
    points = rng.normal(size=(n, 2)) + centres[rng.integers(0, len(centres), n)]
    distances = np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1))
    np.fill_diagonal(distances, 0.0)
    return np.asarray(distances)


def library(distances: np.ndarray, size: int, samples: int) -> Groups:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return groups(
            hdbscan.HDBSCAN(metric="precomputed", min_cluster_size=size, min_samples=samples).fit_predict(distances)
        )


def test_agrees_with_the_library_where_no_distances_are_equal() -> None:
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(120):
        n, size = int(rng.integers(7, 30)), int(rng.integers(2, 6))
        distances = blobs(rng, n)
        own = groups(density_clusters(torch.from_numpy(distances), size))
        assert own == library(distances, size, 1)
        found += bool(own)
    assert found > 60, "a comparison of empty sets shows nothing"


def test_agrees_with_the_definition_with_ties_too() -> None:
    rng = np.random.default_rng(1)
    for n in (2, 3, 4, 7, 12):
        for _ in range(15):
            tied = rng.integers(0, 4, (n, n)) / 3.0  # co-membership distances take four values
            tied = np.triu(tied, 1) + np.triu(tied, 1).T
            for distances in (tied, blobs(rng, n)):
                own = groups(density_clusters(torch.from_numpy(distances)))
                assert own == {frozenset(c) for c in hdbscan_by_levels(distances, 2)}


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_the_order_of_points_is_irrelevant(samples: int) -> None:
    """With more than one neighbour, mutual reachability is full of ties, and the library's answer depends on it."""
    rng = np.random.default_rng(2)
    library_moved = 0
    for _ in range(40):
        distances = blobs(rng, 20)
        order = rng.permutation(20)
        moved = distances[np.ix_(order, order)]
        plain = density_clusters(torch.from_numpy(distances), 3, samples)
        again = density_clusters(torch.from_numpy(moved), 3, samples)
        assert groups(again) == groups(plain[order])
        back = {frozenset(int(order[i]) for i in g) for g in library(moved, 3, samples)}
        library_moved += back != library(distances, 3, samples)
    assert (library_moved > 0) == (samples > 1)


def test_equal_points_are_one_cluster_beside_another() -> None:
    points = torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 5.0])[:, None]
    labels = density_clusters(torch.cdist(points, points))
    assert labels.tolist() == [0, 0, 0, 0, 1, 1, -1]


def test_a_single_crowd_is_no_cluster() -> None:
    assert density_clusters(torch.zeros(6, 6)).tolist() == [-1] * 6
    assert density_clusters(torch.zeros(1, 1)).tolist() == [-1]


@pytest.mark.parametrize("places", [[0], [2], [5], [0, 3], [1, 6], [0, 6]])
def test_an_infinite_distance_is_just_far_wherever_it_stands(places: list[int]) -> None:
    points = torch.tensor([0.0, 0.1, 1.0, 1.15, 1.3])[:, None]
    distances = torch.cdist(points, points)
    n = 5 + len(places)
    near = [i for i in range(n) if i not in places]
    alone = torch.full((n, n), torch.inf).fill_diagonal_(0.0)
    alone[torch.tensor(near)[:, None], torch.tensor(near)] = distances
    found = density_clusters(alone)
    assert found[near].tolist() == density_clusters(distances).tolist()
    assert found[places].tolist() == [-1] * len(places)


def test_every_noise_point_is_alone() -> None:
    same = together(torch.tensor([0, -1, 0, -1]))
    assert same.tolist() == [
        [True, False, True, False],
        [False, True, False, False],
        [True, False, True, False],
        [False, False, False, True],
    ]


@pytest.mark.parametrize(("size", "samples"), [(1, 1), (2, 0)])
def test_settings_below_their_range_raise(size: int, samples: int) -> None:
    with pytest.raises(ValueError, match="min_cluster_size"):
        density_clusters(torch.zeros(3, 3), size, samples)
