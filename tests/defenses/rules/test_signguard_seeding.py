"""Where SignGuard's mean shift starts: at bins, as in public code, or at every point."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.cluster import MeanShift, estimate_bandwidth

from defenses.base import ClientUpdates
from defenses.rules.signguard import SignGuard, by_column_maximum, largest_cluster, mean_shift, sign_fractions
from defenses.rules.signguard_sim import SignGuardSim

BOTH = pytest.mark.parametrize("bin_seeding", [True, False])


def features(n: int, seed: int) -> torch.Tensor:
    """Sign features of ordinary updates, which agree a little."""
    g = torch.Generator().manual_seed(seed)
    updates = torch.randn(n, 1000, generator=g) + 0.1 * torch.randn(1000, generator=g)
    return by_column_maximum(sign_fractions(updates))


def by_the_library(points: np.ndarray, *, bin_seeding: bool) -> list[bool]:
    """The largest cluster of scikit-learn's mean shift; ties to the first label."""
    bandwidth = estimate_bandwidth(points, quantile=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labels = MeanShift(bandwidth=bandwidth * (1 + 1e-9), bin_seeding=bin_seeding, cluster_all=False).fit(points)
    found = labels.labels_
    largest: list[bool] = (found == np.bincount(found[found >= 0]).argmax()).tolist()
    return largest


@BOTH
@pytest.mark.parametrize("n", [5, 13, 40])
def test_accepts_the_largest_cluster_of_the_library(n: int, bin_seeding: bool) -> None:
    for seed in range(60 // n):
        points = features(n, seed)
        got = largest_cluster(points, "mean-shift", bin_seeding=bin_seeding)
        assert got.tolist() == by_the_library(points.numpy(), bin_seeding=bin_seeding), seed


def test_the_two_differ_in_about_a_fifth_of_ordinary_rounds() -> None:
    points = [features(10, seed) for seed in range(60)]
    differ = sum(
        not torch.equal(largest_cluster(p, "mean-shift"), largest_cluster(p, "mean-shift", bin_seeding=False))
        for p in points
    )
    assert 0.15 < differ / len(points) < 0.35


@pytest.mark.parametrize(
    ("values", "binned", "unbinned"),
    [
        ([0.3, 1.0, 0.3, 0.8, 0.9, 0.4], [0, 2, 5], [1, 3, 4]),
        ([0.8, 0.4, 0.7, 0.9, 0.6, 0.5], [0, 2, 3], [0, 3]),
        ([0.2, 0.4, 0.1, 0.6, 0.8, 0.9], [4, 5], [3, 4, 5]),
    ],
)
def test_worked_cases_in_which_they_differ(values: list[float], binned: list[int], unbinned: list[int]) -> None:
    points = torch.tensor(values, dtype=torch.float64)[:, None]
    assert largest_cluster(points, "mean-shift").nonzero().flatten().tolist() == binned
    assert largest_cluster(points, "mean-shift", bin_seeding=False).nonzero().flatten().tolist() == unbinned


@pytest.mark.parametrize("rule", [SignGuard, SignGuardSim])
def test_the_option_reaches_the_rule_and_is_on(rule: type[SignGuard]) -> None:
    assert rule().bin_seeding
    differ = 0
    for seed in range(20):
        g = torch.Generator().manual_seed(seed)
        updates = torch.randn(10, 500, generator=g) + 0.1 * torch.randn(500, generator=g)
        default, binned, unbinned = (
            rule.model_validate(options)(updates).weights
            for options in ({}, {"bin_seeding": True}, {"bin_seeding": False})
        )
        assert torch.equal(default, binned)
        differ += not torch.equal(binned, unbinned)
    assert differ > 1


@BOTH
@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_few_and_identical_clients_are_all_accepted(n: int, bin_seeding: bool) -> None:
    for updates in (torch.ones(n, 30), torch.zeros(n, 30)):
        result = SignGuard(bin_seeding=bin_seeding)(updates)
        assert bool((result.weights > 0).all())
        assert all(np.isfinite(values).all() for values in result.per_client.values())
        assert torch.equal(result.delta, updates[0])


@BOTH
def test_every_number_is_finite_and_no_warning_escapes(bin_seeding: bool) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Binning data failed")  # every bin holds one point
        for n in (1, 2, 3, 4, 5, 8, 11):
            for seed in range(4):
                updates = torch.randn(n, 40, generator=torch.Generator().manual_seed(seed))
                result = SignGuardSim(bin_seeding=bin_seeding, share=1.0)(updates)
                assert bool(result.delta.isfinite().all())
                assert float(result.weights.sum()) == pytest.approx(1.0)
                assert all(np.isfinite(values).all() for values in result.per_client.values())


def test_bins_out_of_everybodys_reach_leave_it_to_the_points() -> None:
    """In four dimensions a grid's corner can be a bandwidth away, or in float32 a little more."""
    points = np.full((2, 4), 2.5) * 0.7
    with pytest.raises(ValueError, match="No point was within"):
        MeanShift(bandwidth=0.7, bin_seeding=True, cluster_all=False).fit(points)
    assert mean_shift(points, 0.7, bin_seeding=True).tolist() == [0, 0]


@BOTH
def test_the_order_of_clients_is_irrelevant(bin_seeding: bool) -> None:
    rule = SignGuard(bin_seeding=bin_seeding)
    for seed in range(20):
        updates = torch.randn(12, 300, generator=torch.Generator().manual_seed(seed))[[*range(9), 0, 1, 2]]
        order = torch.randperm(12, generator=torch.Generator().manual_seed(seed))

        def run(rows: torch.Tensor, ids: list[int]) -> torch.Tensor:
            rng = torch.Generator().manual_seed(1)
            return rule.aggregate(ClientUpdates(torch.zeros(300), rows, torch.ones(12), ids, 1, rng)).weights

        assert torch.equal(run(updates[order], order.tolist()), run(updates, list(range(12)))[order])
