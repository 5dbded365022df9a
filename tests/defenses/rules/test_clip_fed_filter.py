"""CLIP-Fed's filter and the weighted mean of its Eq. 2."""

from __future__ import annotations

import hdbscan
import pytest
import torch

from defenses.base import Aggregate
from defenses.kernels.geometry import gram
from defenses.rules.clip_fed_filter import ClipFedFilter, component_count, embed_updates

METHODS = pytest.mark.parametrize("method", ["closed-form", "hdbscan"])


def normal(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def accepted(result: Aggregate) -> list[bool]:
    return (result.weights > 0).tolist()


def blobs(seed: int = 0) -> torch.Tensor:
    """Six updates near 0, four near 10, 30 coordinates."""
    return 0.1 * normal(10, 30, seed) + torch.tensor([[0.0]] * 6 + [[10.0]] * 4)


@pytest.mark.parametrize(
    ("n", "r"), [(1, 0), (2, 1), (3, 2), (5, 2), (9, 3), (12, 4), (15, 5), (16, 10), (100, 10), (11, 3)]
)
def test_automatic_components(n: int, r: int) -> None:
    assert component_count(n) == r


@METHODS
def test_the_six_near_zero_are_kept(method: str) -> None:
    result = ClipFedFilter.model_validate({"method": method})(blobs())
    assert accepted(result) == [True] * 6 + [False] * 4
    assert result.facts["accepted"] == 6
    assert result.facts["components"] == 3
    assert min(result.per_client["score"][6:]) > max(result.per_client["score"][:6])
    assert result.per_client["score"][7] == pytest.approx(10 * 30**0.5, rel=0.02)


def test_accepted_clients_are_averaged_by_examples() -> None:
    result = ClipFedFilter()(torch.tensor([[0.0], [4.0]]), torch.tensor([1.0, 3.0]))
    assert result.delta.tolist() == [3.0]
    updates = blobs()
    examples = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 5.0, 900.0, 900.0, 900.0, 900.0])
    result = ClipFedFilter()(updates, examples)
    assert result.weights.tolist() == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.25, 0.25, 0, 0, 0, 0])
    torch.testing.assert_close(result.delta, result.weights.float() @ updates)


def test_the_cap_limits_an_accepted_liar() -> None:
    examples = torch.tensor([1e9] + [1.0] * 9)
    assert ClipFedFilter(max_weight=0.3)(blobs(), examples).weights.tolist() == pytest.approx(
        [0.3] + [0.14] * 5 + [0] * 4
    )


@METHODS
def test_a_constant_vector_added_to_all_changes_nothing(method: str) -> None:
    """Centring makes updates and whole models equivalent."""
    rule = ClipFedFilter.model_validate({"method": method})
    for seed in range(20):
        updates = torch.round(normal(12, 40, seed) * 2**10) / 2**10  # exact in float32 after the shift, too
        constant = torch.round(normal(1, 40, 99) * 2**10)
        plain, moved = rule(updates), rule(updates + constant)
        assert accepted(plain) == accepted(moved)
        assert plain.per_client["score"] == pytest.approx(moved.per_client["score"], rel=1e-9)


@pytest.mark.parametrize("n", [4, 7, 10, 18])
def test_n_minus_one_components_equal_no_pca(n: int) -> None:
    for seed in range(10):
        updates = normal(n, 50, seed)
        labels = hdbscan.HDBSCAN(min_cluster_size=n // 2 + 1, min_samples=1, allow_single_cluster=True).fit_predict(
            updates.double().numpy()
        )
        for components in (n - 1, n, 500):
            result = ClipFedFilter(pca_components=components)(updates)
            assert accepted(result) == (labels == 0).tolist()
            assert result.facts["components"] == n - 1


def test_fewer_components_can_decide_otherwise() -> None:
    """An outlier along the direction of smaller variance is invisible to one component."""
    updates = torch.tensor([[-20.0, 0.0], [-9.0, 0.0], [0.0, 30.0], [10.5, 0.0], [22.0, 0.0]])
    assert accepted(ClipFedFilter(pca_components=1)(updates))[2]
    assert accepted(ClipFedFilter(pca_components=2)(updates)) == [True, True, False, True, True]


def test_components_by_explained_variance() -> None:
    axes = torch.diag(torch.tensor([8.0, 4.0, 1.0]))
    updates = torch.cat([axes, -axes])  # centred; variances 128, 32, 2: shares .790, .988, 1
    inner = gram(updates, centred=True)
    for share, kept in ((0.5, 1), (0.79, 1), (0.8, 2), (0.98, 2), (0.99, 3), (1.0, 3)):
        found = embed_updates(inner, 10, share)
        assert found.components == kept, share
        assert found.explained >= share - 1e-9
    assert ClipFedFilter(explained_variance=0.8)(updates).facts["components"] == 2


@pytest.mark.parametrize(("n", "kept"), [(1, 1), (2, 2), (3, 2)])
def test_tiny_rounds(n: int, kept: int) -> None:
    updates = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 9.0]])[:n]
    assert accepted(ClipFedFilter()(updates)) == [True] * kept + [False] * (n - kept)


def test_everyone_is_accepted_when_the_clustering_calls_all_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "defenses.rules.clip_fed_filter.majority_cluster", lambda d, *_: torch.zeros(len(d), dtype=torch.bool)
    )
    result = ClipFedFilter()(blobs())
    assert accepted(result) == [True] * 10
    assert result.facts["all_noise"] == 1.0


def test_a_giant_is_no_screen_for_a_second_attacker() -> None:
    """One update of 1e20 would drown all other distances in float64 rounding; it is rejected before PCA."""
    for seed in range(10):
        updates = 0.1 * normal(10, 30, seed)
        updates[7:9] += 10.0
        updates[9] = 1e20
        result = ClipFedFilter()(updates)
        assert result.facts["giants"] == 1.0
        assert accepted(result)[7:] == [False] * 3


def test_a_long_but_not_absurd_update_is_judged_by_the_clustering() -> None:
    updates = blobs()
    updates[9] *= 50
    assert ClipFedFilter()(updates).facts["giants"] == 0.0


def test_normalised_updates_are_judged_by_direction() -> None:
    g = 0.1 * normal(10, 30)
    updates = torch.ones(10, 30) + g
    updates[5:6] *= 200.0  # long, in the common direction
    updates[6:] = -updates[6:]
    assert accepted(ClipFedFilter(normalise=True)(updates)) == [True] * 6 + [False] * 4
    assert not accepted(ClipFedFilter()(updates))[5]


def test_a_zero_update_is_no_problem_when_normalising() -> None:
    updates = torch.ones(7, 5) + 0.1 * normal(7, 5)
    updates[3] = 0.0
    result = ClipFedFilter(normalise=True)(updates)
    assert not accepted(result)[3]
    assert bool(torch.isfinite(result.delta).all())
