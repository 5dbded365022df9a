"""Worked numbers and traps of the coordinate-wise rules: median and trimmed mean, Bulyan's last step."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from defenses.kernels import geometry
from defenses.kernels.coordinates import (
    ascending,
    by_coordinate,
    by_coordinate_with_distances,
    inner_mean,
    mean_near_median,
    mean_without_outliers,
    middle,
)
from defenses.rules.median import Median
from defenses.rules.trimmed_mean import TrimmedMean
from fedcrucible_core.config import ConfigError
from tests.references import distance_references as slow


def normal(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def ordered(block: torch.Tensor) -> torch.Tensor:
    return ascending(block, torch.empty(block.numel() + 3))


@pytest.fixture(params=[1, 40, 2**19])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """One column a block, some, all at once."""
    monkeypatch.setattr(geometry, "BLOCK", request.param)
    return int(request.param)


def test_worked_example() -> None:
    updates = torch.tensor([[1.0], [2.0], [3.0], [4.0], [100.0]])
    assert TrimmedMean(f=1)(updates).delta.tolist() == [3.0]
    assert Median()(updates).delta.tolist() == [3.0]


def test_median_of_an_even_number_is_the_mean_of_the_middle_two() -> None:
    assert Median()(torch.tensor([[4.0], [1.0], [2.0], [100.0]])).delta.tolist() == [3.0]
    assert float(torch.tensor([4.0, 1.0, 2.0, 100.0]).median()) == 2.0  # what a shortcut would give


def test_the_middle_two_may_be_enormous() -> None:
    """Their sum overflows float32."""
    assert Median()(torch.tensor([[3e38], [3e38]])).delta.tolist() == [pytest.approx(3e38, rel=1e-6)]


@pytest.mark.parametrize("giant", [1e8, 1e30, 3e38])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_one_client_of_ten_sending_giants_everywhere_does_not_matter(giant: float, sign: float) -> None:
    """Public code that subtracts the trimmed values from a float32 total returns 0 in place of 1."""
    updates = torch.ones(10, 1000)
    updates[4] = sign * giant
    assert torch.equal(TrimmedMean(f=1)(updates).delta, torch.ones(1000))
    updates = 1.0 + 0.1 * normal(10, 1000)
    updates[4] = sign * giant
    honest = np.sort(updates.double().numpy(), axis=0)[1:9].mean(0)
    np.testing.assert_allclose(TrimmedMean(f=1)(updates).delta.numpy(), honest, rtol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 3, 10, 33])
@pytest.mark.parametrize("d", [1, 7, 100])
def test_kernels_agree_with_loops_at_any_size_of_block(blocks: int, n: int, d: int) -> None:
    rows = normal(n, d)
    exact = rows.double().numpy()
    trim = (n - 1) // 2
    trimmed = np.array([np.sort(exact[:, j])[trim : n - trim].mean() for j in range(d)])
    for statistic, expected in ((middle, np.median(exact, axis=0)), (partial(inner_mean, trim=trim), trimmed)):
        got, distances = by_coordinate_with_distances(rows, statistic)
        assert torch.equal(got, by_coordinate(rows, statistic))
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-6, atol=1e-6)
        lengths = [np.linalg.norm(row - got.double().numpy()) for row in exact]
        np.testing.assert_allclose(distances.numpy(), lengths, rtol=1e-6, atol=1e-6)


def test_kernels_take_the_named_rows_only(blocks: int) -> None:
    rows = normal(9, 50)
    members = torch.tensor([1, 4, 5, 8])
    got = by_coordinate(rows, middle, members)
    np.testing.assert_allclose(got.numpy(), np.median(rows[members].numpy(), axis=0), rtol=1e-6)


@pytest.mark.parametrize("d", [1, 2, 30])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_sorting_never_touches_the_matrix(blocks: int, n: int, d: int) -> None:
    """A single column (or row) is its own transpose: sorting it in place would sort the clients' updates."""
    rows = normal(n, d).sort(dim=0, descending=True).values
    before = rows.clone()
    by_coordinate_with_distances(rows, middle)
    mean_without_outliers(rows, 0.5)
    assert torch.equal(rows, before)


def test_values_are_ordered_whatever_their_layout() -> None:
    block = normal(6, 11)
    for given in (block, normal(11, 6).T, normal(6, 22)[:, ::2]):
        before = given.clone()
        assert torch.equal(ordered(given), given.T.sort(dim=1).values)
        assert torch.equal(given, before)


@pytest.mark.parametrize(("k", "keep"), [(7, 3), (8, 4), (9, 1), (5, 5), (27, 3), (30, 20)])
def test_mean_of_the_values_closest_to_the_median(k: int, keep: int) -> None:
    """Both windows shorter and longer than what is dropped."""
    for seed in range(20):
        values = normal(k, 40, seed) ** 3
        got = mean_near_median(ordered(values), keep)
        np.testing.assert_allclose(got.numpy(), slow.bulyan_mean(values.double().numpy(), keep), rtol=1e-12)


def test_of_two_values_as_far_from_the_median_the_lower_is_taken() -> None:
    values = torch.tensor([[-4.0, -1.0, 0.0, 1.0, 9.0]])
    assert mean_near_median(values, 1).tolist() == [0.0]
    assert mean_near_median(values, 2).tolist() == [-0.5]
    assert mean_near_median(values, 3).tolist() == [0.0]
    assert mean_near_median(values, 4).tolist() == [-1.0]


def test_a_giant_is_dropped_without_a_trace() -> None:
    values = torch.tensor([[1.0, 2.0, 3.0, 4.0, 3e38], [-3e38, 1.0, 2.0, 3.0, 3e38]])
    assert mean_near_median(values, 3).tolist() == [3.0, 2.0]


def test_kept_giants_overflow_nothing() -> None:
    """More of them than are trimmed: the mean of what is kept is still a float32 number."""
    values = torch.full((1, 7), 3e38)
    assert inner_mean(values, 1).tolist() == pytest.approx([3e38], rel=1e-6)
    values[0, 1:3] = -3e38
    assert inner_mean(values.sort().values, 1).tolist() == pytest.approx([3e38 * 3 / 5], rel=1e-6)


def test_outliers_are_judged_by_the_populations_deviation() -> None:
    column = torch.tensor([0.0] * 10 + [11.0])[:, None]  # mean 1, deviation sqrt(10): the outlier is sqrt(10) away
    got, replaced = mean_without_outliers(column, 3.0)
    assert replaced.tolist() == [0] * 10 + [1]
    assert got.tolist() == pytest.approx([1 / 11])
    got, replaced = mean_without_outliers(column, 3.2)  # the sample's deviation would judge 3.015 away, and this 3.162
    assert replaced.sum() == 0
    assert got.tolist() == pytest.approx([1.0])


def test_trimmed_mean_says_how_far_everyone_is() -> None:
    updates = torch.tensor([[0.0, 0.0], [0.0, 0.0], [3.0, 4.0]])
    result = TrimmedMean(f=1)(updates)
    assert result.per_client["score"] == [0.0, 0.0, 5.0]
    assert result.weights.tolist() == pytest.approx([1 / 3] * 3)
    assert Median()(updates).per_client["score"] == [0.0, 0.0, 5.0]


def test_trimmed_mean_refuses_to_trim_everyone() -> None:
    with pytest.raises(ValueError, match=r"f = 5 .* n = 10: 2f < n"):
        TrimmedMean(f=5)(normal(10, 3))
    with pytest.raises(ConfigError, match="at most 4 with 10 clients"):
        TrimmedMean(f=5).check(10, 0)
    assert TrimmedMean()(normal(10, 3)).facts["f"] == 4.0


def test_most_trimming_is_the_median() -> None:
    for n in (5, 8):
        updates = normal(n, 30)
        torch.testing.assert_close(TrimmedMean()(updates).delta, Median()(updates).delta)


def test_examples_that_clients_claim_play_no_part() -> None:
    updates, claims = normal(5, 9), torch.tensor([1e9, 1.0, 1.0, 1.0, 1.0])
    for rule in (Median(), TrimmedMean(f=1)):
        assert torch.equal(rule(updates, claims).delta, rule(updates).delta)
