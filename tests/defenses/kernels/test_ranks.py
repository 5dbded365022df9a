"""Percentile ranks and two-group cuts, against slow references and worked numbers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from defenses.kernels.ranks import above_gap, above_mixture, above_otsu, percentile_ranks, top_share

CUTS = {
    "otsu": above_otsu,
    "mixture": above_mixture,
    "gap": lambda scores: above_gap(scores, 0.02),
    "share": lambda scores: top_share(scores, 0.2),
}


def bimodal(low: int = 80, high: int = 20, seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.cat([torch.randn(low, generator=g), 12.0 + torch.randn(high, generator=g)]).double()


def test_ranks_of_the_worked_example() -> None:
    scores = torch.tensor([0.1, 0.5, 0.2, 0.9, 0.4, 0.3, 0.8, 0.7, 0.6, 1.0])
    assert percentile_ranks(scores).tolist() == pytest.approx([0.1, 0.5, 0.2, 0.9, 0.4, 0.3, 0.8, 0.7, 0.6, 1.0])


def test_equal_scores_share_the_mean_rank() -> None:
    assert percentile_ranks(torch.tensor([2.0, 1.0, 2.0, 3.0])).tolist() == [0.625, 0.25, 0.625, 1.0]
    assert percentile_ranks(torch.full((4,), 7.0)).tolist() == [0.625] * 4


def test_ranks_are_those_of_a_plain_count() -> None:
    scores = torch.randint(0, 9, (50,), generator=torch.Generator().manual_seed(1)).double()
    counted = [(sum(float(b < a) for b in scores) + (sum(float(b == a) for b in scores) + 1) / 2) / 50 for a in scores]
    assert percentile_ranks(scores).tolist() == pytest.approx(counted)


def test_ranks_don_t_change_under_monotone_transforms() -> None:
    scores = torch.randn(40, generator=torch.Generator().manual_seed(2)).double()
    assert torch.equal(percentile_ranks(scores), percentile_ranks(scores.exp() * 3 + 1))
    assert torch.equal(percentile_ranks(scores), percentile_ranks(scores.pow(3)))


def test_one_and_none() -> None:
    assert percentile_ranks(torch.tensor([5.0])).tolist() == [1.0]
    assert percentile_ranks(torch.zeros(0)).shape == (0,)


@pytest.mark.parametrize("cut", CUTS)
def test_a_far_group_is_found_whatever_its_order(cut: str) -> None:
    scores = bimodal()
    found = CUTS[cut](scores)
    assert torch.equal(found, scores > 6.0)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(3))
    assert torch.equal(CUTS[cut](scores[order]), found[order])


@pytest.mark.parametrize("cut", ["otsu", "mixture", "gap"])
@pytest.mark.parametrize("scores", [torch.zeros(0), torch.tensor([3.0]), torch.full((9,), 2.0)])
def test_where_all_are_alike_nobody_is_cut_off(cut: str, scores: Tensor) -> None:
    found = CUTS[cut](scores)
    assert found.shape == scores.shape
    assert not found.any()


def test_otsu_has_the_least_squares_of_all_cuts() -> None:
    for seed in range(5):
        scores = torch.randn(30, generator=torch.Generator().manual_seed(seed)).double().exp()

        def within(mask: Tensor, scores: Tensor = scores) -> float:
            return sum(float((part - part.mean()).square().sum()) for part in (scores[mask], scores[~mask]))

        best = min(within(scores > cut) for cut in scores.sort().values[:-1])
        assert within(above_otsu(scores)) == pytest.approx(best)


def test_a_gap_above_too_few_is_passed_over() -> None:
    scores = torch.cat([torch.linspace(0, 1, 50), torch.linspace(1.5, 2, 48), torch.tensor([9.0])]).double()
    assert int(above_gap(scores, 0.05).sum()) == 48 + 1
    assert int(above_gap(scores, 0.0).sum()) == 1


def test_a_mixture_s_upper_part_has_no_lower_tail() -> None:
    g = torch.Generator().manual_seed(0)
    scores = torch.cat(
        [torch.randn(300, generator=g) * 0.1, 3.0 + 2.0 * torch.randn(100, generator=g), -9 * torch.ones(1)]
    )
    found = above_mixture(scores)
    assert not found[-1], "a wide component claims both tails"
    assert int(found[300:400].sum()) > 80
    assert int(found[:300].sum()) < 10


def test_the_share_is_a_share() -> None:
    scores = torch.arange(10.0)
    assert top_share(scores, 0.2).nonzero().flatten().tolist() == [8, 9]
    assert not top_share(torch.tensor([1.0]), 0.0).any()
