"""FEDCPA: importance, extremes, likeness and scores."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr

from defenses.base import Aggregate, ClientUpdates
from defenses.contracts.setting import SLOTS, D, tiny_start, tiny_view
from defenses.kernels import critical_parameters
from defenses.kernels.critical_parameters import Chosen, Correlation, extremes, likeness
from defenses.rules.fedcpa import FedCPA, trust_from_scores, weight_columns


def fedcpa(
    updates: torch.Tensor,
    w_t: torch.Tensor | None = None,
    state: Mapping[str, torch.Tensor] | None = None,
    **options: object,
) -> Aggregate:
    n, d = updates.shape
    start = w_t if w_t is not None else tiny_start() if d == D else torch.ones(d)
    view = {"server": tiny_view(start, n)} if d == D else {}
    seen = ClientUpdates(start, updates, torch.ones(n), range(n), 1, torch.Generator(), state or {}, **view)  # type: ignore[arg-type]
    return FedCPA.model_validate(options).aggregate(seen)


def like_minded(n: int, seed: int, d: int = 4000) -> torch.Tensor:
    """Clients who change the same coordinates, some of them a lot."""
    g = torch.Generator().manual_seed(seed)
    common = torch.randn(d, generator=g) * torch.rand(d, generator=g) ** 3
    return common * (1 + 0.2 * torch.randn(n, d, generator=g))


def test_identical_clients_weigh_alike() -> None:
    for n in (1, 2, 3, 8):
        result = fedcpa(like_minded(1, 0).repeat(n, 1))
        assert result.weights.tolist() == pytest.approx([1 / n] * n)
        assert result.per_client["trust"] == [1.0] * n


@pytest.mark.parametrize("correlation", ["pearson", "spearman"])
def test_shuffled_importance_gets_the_lowest_weight(correlation: str) -> None:
    for seed in range(5):
        updates = like_minded(9, seed)
        updates[4] = updates[4, torch.randperm(4000, generator=torch.Generator().manual_seed(seed))]
        result = fedcpa(updates, correlation=correlation)
        assert result.per_client["trust"][4] == 0.0
        assert int(torch.tensor(result.per_client["score"]).argmax()) == 4
        assert min(t for i, t in enumerate(result.per_client["trust"]) if i != 4) > 0.5
        expected = sum(t * updates[i].double() for i, t in enumerate(result.per_client["trust"])) / 8
        torch.testing.assert_close(result.delta.double(), expected, rtol=1e-5, atol=1e-7)


def test_the_least_agreeing_client_is_out_even_when_all_are_honest() -> None:
    trust = fedcpa(like_minded(7, 3)).per_client["trust"]
    assert min(trust) == 0.0
    assert max(trust) == 1.0


def test_scores_become_weights() -> None:
    assert trust_from_scores(np.array([1.0, 1.0 + 1e-12])).tolist() == [1.0, 1.0]
    trust = trust_from_scores(np.array([0.0, 4.0, 4.5, 10.0]))
    assert trust.tolist() == pytest.approx([0.0, np.log(0.4 / 0.6) + 0.5, np.log(0.45 / 0.55) + 0.5, 1.0])


def test_extremes_and_their_ties() -> None:
    top, bottom = extremes(np.array([5.0, 0.0, 1.0, 9.0, 0.0, 0.0, 5.0, 2.0]), 2)
    assert top.tolist() == [0, 3]
    assert bottom.tolist() == [1, 4]
    g = np.random.default_rng(0)
    for k in (1, 3, 20, 20, 3):
        x = g.integers(0, 9, 40).astype(float)
        if k == 3:
            x = np.sort(x)
        top, bottom = extremes(x, k)
        assert top.tolist() == sorted(np.argsort(-x, kind="stable")[:k])
        assert bottom.tolist() == sorted(np.argsort(x, kind="stable")[:k])


@pytest.mark.parametrize("correlation", ["pearson", "spearman"])
@pytest.mark.parametrize("vectors", [2, 12, 40])
def test_likeness_agrees_with_scipy(correlation: Correlation, vectors: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty vectors make both coordinates that few and that many of them chose."""
    monkeypatch.setattr(critical_parameters, "BLOCK", 11)
    g = np.random.default_rng(vectors)
    width, k = 120, 25
    chance = np.linspace(1, 30, width)
    columns = np.sort([g.choice(width, k, replace=False, p=chance / chance.sum()) for _ in range(vectors)], axis=1)
    values = np.round(g.normal(size=(vectors, k)) + 50.0, 1 if correlation == "spearman" else 9)  # ties in ranks
    got = likeness(Chosen(columns, values, width), correlation)
    assert np.array_equal(got, got.T)
    for i in range(vectors):
        for j in range(i):
            both = sorted(set(columns[i]) & set(columns[j]))
            x, y = (values[r][np.searchsorted(columns[r], both)] for r in (i, j))
            rho = 0.0
            if len(both) > 1 and x.std() > 0 and y.std() > 0:
                rho = float((pearsonr if correlation == "pearson" else spearmanr)(x, y)[0])
            jaccard = len(both) / len(set(columns[i]) | set(columns[j]))
            assert got[i, j] == pytest.approx(jaccard + (rho + 1) / 2, abs=1e-9)


@pytest.mark.parametrize("correlation", ["pearson", "spearman"])
def test_no_correlation_without_two_common_coordinates_or_variance(correlation: Correlation) -> None:
    columns = np.array([[0, 1, 2], [2, 3, 4], [5, 6, 7], [0, 1, 2]])
    values = np.array([[1.0, 2.0, 3.0], [7.0, 8.0, 9.0], [1.0, 2.0, 3.0], [4.0, 4.0, 4.0]])
    got = likeness(Chosen(columns, values, 8), correlation)
    assert got[0, 1] == pytest.approx(1 / 5 + 0.5)  # one common coordinate
    assert got[0, 2] == pytest.approx(0.5)  # none
    assert got[0, 3] == pytest.approx(1.0 + 0.5)  # constant on one side


def test_only_weights_of_two_or_four_dimensions_count() -> None:
    updates = 0.1 * torch.randn(6, D, generator=torch.Generator().manual_seed(0))
    view = tiny_view(tiny_start(), 6)
    seen = ClientUpdates(tiny_start(), updates, torch.ones(6), range(6), 1, torch.Generator(), {}, view)
    counted = torch.zeros(D, dtype=torch.bool)
    for part in weight_columns(seen):
        counted[part] = True
    assert {len(slot.shape) for slot in SLOTS} == {1, 2, 4}
    assert all(bool(counted[s.start : s.stop].all()) == (len(s.shape) in (2, 4)) for s in SLOTS)
    changed = torch.where(counted, updates, 50 * updates.flip(0))
    assert fedcpa(changed).per_client["trust"] == fedcpa(updates).per_client["trust"]


def test_the_global_models_own_change_counts_from_the_second_round_on() -> None:
    updates, before = like_minded(6, 1), torch.ones(4000)
    first = fedcpa(updates, before)
    assert first.facts["compared_with_global"] == 0.0
    assert torch.equal(first.state["previous"], before)
    assert fedcpa(updates, before, first.state).facts["compared_with_global"] == 0.0  # the model was kept
    after = before + updates[5] * 1e-3  # the global model moved the way client 5 moves now
    second = fedcpa(updates, after, first.state)
    assert second.facts["compared_with_global"] == 1.0
    assert second.per_client["score"] != first.per_client["score"]
    assert int(torch.tensor(second.per_client["score"]).argmin()) == 5
    assert torch.equal(second.state["previous"], after)


def test_length_is_not_bounded() -> None:
    """Agreement is all that counts: ten times everybody's common update is as agreeable as can be."""
    updates = like_minded(6, 2, 400)
    updates[0] = 100.0 * updates[1:].mean(0)
    start = torch.zeros(400)
    start[:] = 1e-6
    result = fedcpa(updates, start)
    assert result.per_client["trust"][0] == 1.0
    assert float(result.delta.norm()) > 10 * float(updates[1:].norm(dim=1).max())


@pytest.mark.parametrize("shape", ["random", "rising", "ties", "hidden", "constant"])
def test_extremes_of_long_vectors_are_exact(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is guessed from a sample; a sample that misses the extremes must only cost time."""
    monkeypatch.setattr(critical_parameters, "SAMPLE", 50)
    x = np.random.default_rng(0).normal(size=5000)
    if shape == "rising":
        x = np.sort(x)
    elif shape == "ties":
        x = np.round(np.abs(x)).astype(np.float64) // 2
    elif shape == "hidden":
        x[::100] = 0.0  # all that the sample sees
    elif shape == "constant":
        x[:] = 3.0
    for k in (1, 50, 2000):
        top, bottom = extremes(x, k)
        assert top.tolist() == sorted(np.argsort(-x, kind="stable")[:k])
        assert bottom.tolist() == sorted(np.argsort(x, kind="stable")[:k])
