"""Entropy of channels: worked numbers, edges, a slow reference."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch

from defenses.kernels.channel_entropy import channel_entropies, low_outliers


def slow(features: list[list[float]], step: float) -> list[float]:
    """Number by number, in plain Python."""
    columns = [list(column) for column in zip(*features, strict=True)]
    standard = []
    for column in columns:
        mean = sum(column) / len(column)
        deviation = math.sqrt(sum((x - mean) ** 2 for x in column) / len(column))
        standard.append([0.0 if deviation == 0 else (x - mean) / deviation for x in column])
    low = min(min(column) for column in standard)
    found = []
    for column in standard:
        counts = Counter(math.floor((x - low) / step) for x in column)
        found.append(-sum(n / len(column) * math.log(n / len(column)) for n in counts.values()))
    return found


def test_worked() -> None:
    found = channel_entropies(torch.tensor([[0.0, 0.0], [0.0, 1.0], [0.0, 2.0], [3.0, 3.0]]), 0.5)
    assert found.tolist() == pytest.approx([0.5623, math.log(4)], abs=1e-4)


def test_against_the_slow_reference() -> None:
    features = torch.randn(40, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for step in (0.1, 0.37, 2.0):
        assert channel_entropies(features, step).tolist() == pytest.approx(slow(features.tolist(), step))


def test_samples_at_both_edges_are_counted() -> None:
    """With strict limits at both ends the layer's smallest and largest sample belong to no bin: the entropy falls."""
    features = torch.tensor([[-1.0], [0.0], [0.0], [1.0]])
    whole = -(0.25 * math.log(0.25) * 2 + 0.5 * math.log(0.5))
    assert float(channel_entropies(features, 0.1)) == pytest.approx(whole)


def test_scale_and_shift_of_a_channel_are_irrelevant() -> None:
    features = torch.randn(50, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    changed = features * torch.tensor([1.0, 2.0, 4.0, 8.0]) + torch.tensor([0.0, 1.0, -2.0, 64.0])
    assert torch.allclose(channel_entropies(features, 0.3), channel_entropies(changed, 0.3), atol=0.1)


def test_the_order_of_samples_is_irrelevant() -> None:
    features = torch.randn(30, 5, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(channel_entropies(features, 0.1), channel_entropies(features.flip(0), 0.1))


def test_constant_channels_and_few_samples_have_no_entropy() -> None:
    assert channel_entropies(torch.full((6, 2), 3.0), 0.1).tolist() == [0.0, 0.0]
    assert channel_entropies(torch.tensor([[1.0, 5.0]]), 0.1).tolist() == [0.0, 0.0]
    assert bool(torch.isfinite(channel_entropies(torch.tensor([[1e30, 0.0], [-1e30, 1.0]]), 0.1)).all())


def test_outliers_are_below_the_limit_of_their_layer() -> None:
    entropies = torch.tensor([2.0] * 12 + [0.0], dtype=torch.float64)
    assert low_outliers(entropies, 3.0).tolist() == [12]
    assert low_outliers(entropies[-9:], 3.0).tolist() == [], "nine can't hold an outlier of three deviations"
    assert low_outliers(entropies[-9:], 2.0).tolist() == [8]
    assert low_outliers(torch.ones(5, dtype=torch.float64), 0.0).tolist() == []
    assert low_outliers(torch.ones(1, dtype=torch.float64), 0.0).tolist() == []
