"""Other people's code on the same random inputs, where it is right (and where it isn't, by how much it isn't)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from defenses.rules.bulyan import Bulyan
from defenses.rules.fedavg import FedAvg
from defenses.rules.krum import Krum
from defenses.rules.median import Median
from defenses.rules.multi_krum import MultiKrum
from defenses.rules.rfa import Rfa
from defenses.rules.trimmed_mean import TrimmedMean

SHAPES = [(3, 8), (10, 25), (11, 40), (20, 15)]


def draw(n: int, d: int, seed: int) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=g) * 3.0 * torch.rand(n, 1, generator=g)


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_byzfl_coordinate_rules(n: int, d: int) -> None:
    byzfl = pytest.importorskip("byzfl")
    for seed in range(20):
        updates = draw(n, d, seed)
        pairs = [(FedAvg(), byzfl.Average()), (Median(), byzfl.Median())]
        pairs += [(TrimmedMean(f=f), byzfl.TrMean(f=f)) for f in range(1, (n + 1) // 2)]
        for ours, theirs in pairs:
            expected = theirs(updates.double().numpy())
            np.testing.assert_allclose(ours(updates).delta.numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_byzfl_geometric_median_in_the_limit(n: int, d: int) -> None:
    """From the zero vector, not the mean; both end at the same point."""
    byzfl = pytest.importorskip("byzfl")
    for seed in range(3):
        updates = draw(n, d, seed)
        limit = byzfl.GeometricMedian(nu=1e-6, T=3000)(updates.double().numpy())
        np.testing.assert_allclose(Rfa(iterations=0)(updates).delta.numpy(), limit, atol=1e-4)


def test_byzfl_takes_one_neighbour_more() -> None:
    """Its Krum sums n - f - 1 distances by its own definition, so it often chooses another client than the paper's."""
    byzfl = pytest.importorskip("byzfl")
    differ = 0
    for seed in range(100):
        updates = draw(10, 5, seed)
        differ += not np.allclose(byzfl.Krum(f=2)(updates.double().numpy()), Krum(f=2)(updates).delta.numpy())
    assert 5 < differ < 60


def results(updates: torch.Tensor) -> list[tuple[list[np.ndarray], int]]:
    return [([row.double().numpy()], 1) for row in updates]


@pytest.mark.parametrize(("n", "f"), [(5, 1), (10, 2), (11, 3), (20, 6)])
def test_flowers_legacy_krum_and_multi_krum(n: int, f: int) -> None:
    from flwr.server.strategy.aggregate import aggregate_krum

    for seed in range(50):
        updates = draw(n, 5, seed)
        (krum,) = aggregate_krum(results(updates), f, 0)
        np.testing.assert_allclose(Krum(f=f)(updates).delta.numpy(), krum, rtol=1e-6)
        (multi,) = aggregate_krum(results(updates), f, n - f)
        np.testing.assert_allclose(MultiKrum(f=f)(updates).delta.numpy(), multi, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("n", "f"), [(7, 1), (11, 2), (16, 3)])
def test_flowers_legacy_bulyan(n: int, f: int) -> None:
    from flwr.server.strategy.aggregate import aggregate_bulyan, aggregate_krum

    for seed in range(200 if n == 11 else 40):
        updates = draw(n, 5, seed)
        (expected,) = aggregate_bulyan(results(updates), f, aggregate_krum, to_keep=0)
        np.testing.assert_allclose(Bulyan(f=f)(updates).delta.numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n", [3, 10, 21])
def test_flowers_legacy_median_and_trimmed_mean(n: int) -> None:
    from flwr.server.strategy.aggregate import aggregate_median, aggregate_trimmed_avg

    for seed in range(20):
        updates = draw(n, 30, seed)
        (median,) = aggregate_median(results(updates))
        np.testing.assert_allclose(Median()(updates).delta.numpy(), median, rtol=1e-6, atol=1e-7)
        f = n // 5
        (trimmed,) = aggregate_trimmed_avg(results(updates), f / n + 1e-9)
        np.testing.assert_allclose(TrimmedMean(f=f)(updates).delta.numpy(), trimmed, rtol=1e-5, atol=1e-6)
