"""Gram matrices, distances and cosines hold their digits where float32 loses them."""

from __future__ import annotations

import pytest
import torch
from threadpoolctl import threadpool_limits

from defenses.base import ClientUpdates
from defenses.kernels import geometry
from defenses.kernels.geometry import (
    cosine_distances,
    cosines,
    gram,
    median,
    principal_scores,
    require_finite,
    row_norms,
    squared_distances,
    weighted_sum,
)
from defenses.updates import without_giants


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometry, "BLOCK", 42)  # six rows of 50 columns: seven full blocks and a rest


def rows(n: int = 6, d: int = 50) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(2))


def test_blocks_add_up_to_the_whole_product() -> None:
    x = rows()
    torch.testing.assert_close(gram(x), x.double() @ x.double().T)
    centred = x.double() - x.double().mean(0)
    torch.testing.assert_close(gram(x, centred=True), centred @ centred.T)
    moved = x.double() + 3.0
    torch.testing.assert_close(gram(x, offset=torch.full((50,), 3.0)), moved @ moved.T)
    torch.testing.assert_close(row_norms(x), x.double().norm(dim=1))


def test_inputs_are_not_changed() -> None:
    x, w = rows().double(), rows(1)[0].double()  # float64 already: .to() would hand out the same storage
    kept_x, kept_w = x.clone(), w.clone()
    gram(x, offset=w, centred=True)
    row_norms(x)
    assert torch.equal(x, kept_x)
    assert torch.equal(w, kept_w)


def test_distances_survive_a_large_common_part() -> None:
    """Float32 |x|^2 + |y|^2 - 2xy on whole weights is off by hundreds of percent here (choices: krum-neighbours)."""
    base = torch.full((2000,), 64.0)
    x = base + torch.randint(0, 9, (4, 2000), generator=torch.Generator().manual_seed(0)) * 2.0**-12
    true = torch.cdist(x.double(), x.double(), compute_mode="donot_use_mm_for_euclid_dist")
    torch.testing.assert_close(squared_distances(gram(x, centred=True)).sqrt(), true, rtol=1e-9, atol=0)
    naive = (x.square().sum(1)[:, None] + x.square().sum(1)[None, :] - 2 * x @ x.T).clamp(min=0).sqrt()
    assert float((naive - true).abs().max()) > float(true.max())


def test_equal_rows_are_exactly_tied() -> None:
    x = rows().repeat(2, 1)
    for inner in (gram(x), gram(x, centred=True)):
        distances = squared_distances(inner)
        assert all(float(distances[i, i + 6]) == 0.0 for i in range(6))
        assert torch.equal(distances, distances.T)
        assert float(distances[0, 1]) > 1.0


def test_zero_vector_has_cosine_zero_with_everything_else() -> None:
    similar = cosines(gram(torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0], [-3.0, -4.0]])))
    expected = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, -1.0], [0.0, 0.0, 1.0, 0.0], [0.0, -1.0, 0.0, 1.0]]
    torch.testing.assert_close(similar, torch.tensor(expected, dtype=torch.float64))


def test_cosine_distance_ignores_length_even_an_enormous_one() -> None:
    distances = cosine_distances(gram(torch.tensor([[1.0, 1.0], [1e30, 1e30], [-1e-5, -1e-5], [0.0, 7.0]])))
    assert float(distances[0, 1]) == 0.0
    assert float(distances[0, 2]) == pytest.approx(2.0)
    assert float(distances[1, 3]) == pytest.approx(1 - 2**-0.5)


@pytest.mark.parametrize(
    ("values", "expected"), [([5.0], 5.0), ([9.0, 1.0], 5.0), ([1.0, 5.0, 1.0], 1.0), ([4.0, 1.0, 2.0, 100.0], 3.0)]
)
def test_median_averages_the_middle_two(values: list[float], expected: float) -> None:
    assert median(torch.tensor(values)) == expected


def test_principal_scores_equal_those_of_the_full_decomposition() -> None:
    x = rows().double()
    centred = x - x.mean(0)
    scores, variances = principal_scores(gram(x, centred=True))
    left, values, _ = torch.linalg.svd(centred, full_matrices=False)
    torch.testing.assert_close(scores[:, :5].abs(), (left * values)[:, :5].abs(), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(variances[:5], values[:5] ** 2)
    assert bool((variances >= 0).all())


def test_only_the_named_rows_are_read() -> None:
    x, members = rows(9), torch.tensor([7, 2, 5])
    x[0] = torch.nan
    torch.testing.assert_close(gram(x, members=members), gram(x[members]))
    torch.testing.assert_close(gram(x, centred=True, members=members), gram(x[members], centred=True))


@pytest.mark.parametrize("members", [[], [4], [7, 2, 5], [0, 1, 2, 3, 5, 6, 7, 8], list(range(9))])
def test_weighted_sums_of_few_and_of_most_rows(members: list[int]) -> None:
    x = rows(9)
    x[[i for i in range(9) if i not in members]] = 3e38
    weights = torch.zeros(9, dtype=torch.float64)
    weights[members] = torch.rand(len(members), dtype=torch.float64)
    expected = weights[members] @ x[members].double()
    torch.testing.assert_close(weighted_sum(weights, x), expected.float())


def test_nothing_but_zero_weights_is_a_zero_sum() -> None:
    assert not bool(weighted_sum(torch.zeros(6, dtype=torch.float64), rows()).any())


def test_inner_products_do_not_depend_on_the_threads_of_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three engines must end in the same bits, and each may start with another number of BLAS threads."""
    monkeypatch.setattr(geometry, "BLOCK", 2**19)
    x = rows(100, 20_000)
    found = []
    for threads in (1, 2, 4):
        with threadpool_limits(threads, user_api="blas"):
            found.append(gram(x))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_inner_products_are_symmetric_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometry, "BLOCK", 2**19)
    x = rows(33, 5000)
    assert torch.equal(gram(x), gram(x).T)


def test_a_device_without_float64_leaves_the_work_to_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometry, "NO_FLOAT64", frozenset({"meta"}))
    with pytest.raises(NotImplementedError, match="meta"):  # it asks for a copy on the CPU, which "meta" can't give
        gram(torch.empty(3, 4, device="meta"))


def test_a_long_row_costs_the_others_no_digits_where_rounding_is_judged_by_pairs() -> None:
    x = rows().double() * 1e-4
    x[5] = 1e6
    inner = gram(x)
    true = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").square()
    torch.testing.assert_close(squared_distances(inner, pairwise=True), true, rtol=1e-9, atol=0)
    assert float(squared_distances(inner)[:5, :5].max()) == 0.0  # drowned


@pytest.mark.parametrize("longest", [9.0, 30.0, 2e3, 9e3, 1.1e4, 1e30])
def test_the_quick_look_for_giants_agrees_with_their_lengths(longest: float) -> None:
    """By the largest value alone, most rounds can tell that there is none."""
    x = torch.ones(5, 50)
    x[3] *= longest
    x[4] = 0.0
    updates = ClientUpdates.bare(x)
    assert torch.equal(updates.no_giants, without_giants(row_norms(x)))
    assert ("norms" in updates.__dict__) == (longest > 1e4 / 50**0.5)
    assert updates.largest.tolist() == pytest.approx([1, 1, 1, longest, 0])


def test_giants_are_a_minority_by_length() -> None:
    norms = torch.tensor([1.0, 2.0, 3.0, 3e4, 3.1e4], dtype=torch.float64)
    assert without_giants(norms).tolist() == [True, True, True, True, False]
    assert without_giants(torch.tensor([1.0, 1e30])).all()
    assert without_giants(torch.tensor([0.0, 0.0, 0.0, 1e30])).all()


@pytest.mark.parametrize("d", [1, 3, 300])
def test_numbers_that_are_not_finite_are_seen_anywhere(d: int) -> None:
    for value in (float("nan"), float("inf"), float("-inf")):
        for place in {0, d // 2, d - 1}:
            x = rows(4, d)
            x[2, place] = value
            with pytest.raises(ValueError, match=r"\[12\]"):
                require_finite(x, [10, 11, 12, 13])
    require_finite(torch.full((2, d), 3e38), [0, 1])
    require_finite(torch.zeros(2, 0), [0, 1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometry, "BLOCK", 2**12)
    x, weights = rows(9, 3000), torch.rand(9, dtype=torch.float64)
    weights[3] = 0.0
    there = x.cuda()
    torch.testing.assert_close(gram(there, centred=True), gram(x, centred=True))
    torch.testing.assert_close(gram(there, offset=there[0]), gram(x, offset=x[0]))
    torch.testing.assert_close(row_norms(there), row_norms(x))
    torch.testing.assert_close(weighted_sum(weights, there).cpu(), weighted_sum(weights, x))
    assert weighted_sum(weights, there).is_cuda
