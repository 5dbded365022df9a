"""Shares of a sample-weighted mean, and the cap on each."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from defenses.kernels.weighting import sample_shares


def shares(examples: list[float], accepted: list[bool] | None = None, cap: float = 1.0) -> list[float]:
    chosen = None if accepted is None else torch.tensor(accepted)
    return sample_shares(torch.tensor(examples, dtype=torch.float64), chosen, cap).tolist()


def test_shares_are_proportional_to_examples() -> None:
    assert shares([1, 3]) == [0.25, 0.75]


def test_rejected_clients_weigh_nothing_whatever_they_claim() -> None:
    assert shares([1, 3, 1e9], [True, True, False]) == [0.25, 0.75, 0.0]
    assert shares([1, 3], [False, False]) == [0.0, 0.0]


def test_a_cap_spreads_the_excess_by_examples() -> None:
    assert shares([8, 1, 1], cap=0.5) == pytest.approx([0.5, 0.25, 0.25])
    assert shares([90, 6, 3, 1], cap=0.5) == pytest.approx([0.5, 0.3, 0.15, 0.05])


def test_a_share_lifted_above_the_cap_is_cut_in_turn() -> None:
    assert shares([80, 15, 4, 1], cap=0.4) == pytest.approx([0.4, 0.4, 0.16, 0.04])


def test_a_cap_that_cannot_hold_means_equal_shares() -> None:
    assert shares([80, 15, 5], cap=0.2) == pytest.approx([1 / 3] * 3)


def test_an_absurd_claim_stays_finite() -> None:
    assert shares([1e308, 1e308, 1.0]) == pytest.approx([0.5, 0.5, 0.0])


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_a_count_that_is_no_count_raises(bad: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        shares([1.0, bad])


@pytest.mark.parametrize("cap", [0.0, -0.1, 1.1])
def test_a_cap_outside_its_range_raises(cap: float) -> None:
    with pytest.raises(ValueError, match="max_weight"):
        shares([1.0, 2.0], cap=cap)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=30), st.floats(0.01, 1.0))
def test_shares_sum_to_one_below_the_cap_and_keep_the_order(counts: list[int], cap: float) -> None:
    got = torch.tensor(shares([float(c) for c in counts], cap=cap), dtype=torch.float64)
    assert float(got.sum()) == pytest.approx(1.0, abs=1e-9)
    assert float(got.max()) <= max(cap, 1 / len(counts)) + 1e-9
    ordered = got[torch.tensor(counts).argsort()]
    assert bool((ordered.diff() >= -1e-12).all())
