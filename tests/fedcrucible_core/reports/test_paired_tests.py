"""Paired tests against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest

from fedcrucible_core.reports.statistics.paired import paired
from fedcrucible_core.reports.statistics.spread import spread

OURS = {1: 80.0, 2: 82.0, 3: 81.0, 4: 90.0}
THEIRS = {1: 78.0, 2: 81.0, 3: 78.0, 9: 0.0}


def test_only_common_seeds_are_paired_and_the_difference_is_ours_minus_theirs() -> None:
    found = paired(OURS, THEIRS)
    assert found is not None
    assert found.pairs == 3
    assert found.difference.mean == pytest.approx(2.0)
    assert paired({1: 1.0}, {2: 1.0}) is None
    swapped = paired(THEIRS, OURS)
    assert swapped is not None
    assert swapped.difference.mean == pytest.approx(-2.0)
    assert swapped.t_p == pytest.approx(found.t_p)
    assert swapped.wilcoxon_p == pytest.approx(found.wilcoxon_p)


def test_the_t_test_is_the_one_of_the_textbook() -> None:
    """Differences 2, 1, 3: mean 2, sd 1, t = 2 * sqrt(3) on 2 degrees; p = 1 - t / sqrt(2 + t^2) there."""
    found = paired(OURS, THEIRS)
    assert found is not None
    t = 2.0 * math.sqrt(3.0)
    assert found.t_p == pytest.approx(1.0 - t / math.sqrt(2.0 + t * t))
    assert found.t_p == pytest.approx(0.0742, abs=5e-5)


@pytest.mark.parametrize("pairs", [1, 2, 3, 5, 6])
def test_the_signed_rank_test_is_exact_and_can_not_beat_its_number_of_pairs(pairs: int) -> None:
    """All differences of one sign: the two most extreme of 2^n sign patterns."""
    found = paired({i: 10.0 + i for i in range(pairs)}, dict.fromkeys(range(pairs), 0.0))
    assert found is not None
    assert found.wilcoxon_p == pytest.approx(2.0 / 2.0**pairs)
    assert found.smallest_wilcoxon_p == pytest.approx(2.0 / 2.0**pairs)


def test_the_signed_rank_test_counts_sign_patterns() -> None:
    """Differences 1, 2, -3 have W+ = 3 = W-, the middle.  1, -2, 3, 4 have W- = 2: 3 of 16 patterns are as extreme."""
    even = paired({1: 1.0, 2: 2.0, 3: -3.0}, {1: 0.0, 2: 0.0, 3: 0.0})
    assert even is not None
    assert even.wilcoxon_p == pytest.approx(1.0)
    mixed = paired({1: 1.0, 2: -2.0, 3: 3.0, 4: 4.0}, {1: 0.0, 2: 0.0, 3: 0.0, 4: 0.0})
    assert mixed is not None
    assert mixed.wilcoxon_p == pytest.approx(2 * 3 / 16)


def test_ties_of_rounded_rates_are_ties() -> None:
    """Six differences of 0.1, two of them negative: W- = 7 of 21; 44 of 64 sign patterns are as extreme."""
    pairs = [(70.31, 70.21), (68.12, 68.22), (81.07, 80.97), (75.55, 75.65), (70.2, 70.1), (66.43, 66.33)]
    found = paired(dict(enumerate(p[0] for p in pairs)), dict(enumerate(p[1] for p in pairs)))
    assert found is not None
    assert found.wilcoxon_p == pytest.approx(44 / 64)
    same = paired({1: 0.1 + 0.2, 2: 1.0}, {1: 0.3, 2: 0.0})
    assert same is not None
    assert same.wilcoxon_p == 1.0


def test_ties_and_zeros() -> None:
    """Zero is left out, 2 and 2 share rank 1.5: all three patterns of one sign are as extreme."""
    found = paired({1: 2.0, 2: 2.0, 3: 0.0}, {1: 0.0, 2: 0.0, 3: 0.0})
    assert found is not None
    assert found.wilcoxon_p == pytest.approx(0.5)


def test_nothing_is_claimed_where_nothing_can_be_tested() -> None:
    same = paired({1: 5.0, 2: 6.0}, {1: 5.0, 2: 6.0})
    assert same is not None
    assert same.t_p is None
    assert same.wilcoxon_p is None
    one = paired({1: 5.0}, {1: 4.0})
    assert one is not None
    assert one.t_p is None
    shifted = paired({1: 5.0, 2: 6.0}, {1: 4.0, 2: 5.0})
    assert shifted is not None
    assert shifted.t_p is None, "no spread, no t"


def test_the_interval_is_students() -> None:
    """Values 1, 2, 3: mean 2, sd 1, t(0.975, 2) = 4.302653."""
    found = spread([1.0, 2.0, 3.0])
    assert found is not None
    assert found.high is not None
    assert found.high - found.mean == pytest.approx(4.302653 / math.sqrt(3.0), rel=1e-6)
