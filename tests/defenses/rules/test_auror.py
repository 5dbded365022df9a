"""Auror: indicative coordinates of the last layer, found early and kept."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from defenses.base import Aggregate, ClientUpdates
from defenses.contracts.setting import SLOTS, D, tiny_start, tiny_view
from defenses.kernels.geometry import gram
from defenses.kernels.two_means import split_gaps, two_means
from defenses.rules.auror import Auror, indicative_columns

HEAD = next(s.start for s in SLOTS if s.name == "classifier.weight")


def auror(
    updates: torch.Tensor, state: Mapping[str, torch.Tensor] | None = None, round: int = 1, **options: object
) -> Aggregate:
    n, start = len(updates), tiny_start()
    view = tiny_view(start, n)
    return Auror.model_validate(options).aggregate(
        ClientUpdates(start, updates, torch.ones(n), range(n), round, torch.Generator(), state or {}, view)
    )


def accepted(result: Aggregate) -> list[bool]:
    return (result.weights > 0).tolist()


def crowd(seed: int = 0, spread: float = 1e-4) -> torch.Tensor:
    """Ten clients; the last three differ from the rest in two coordinates of the last layer."""
    g = torch.Generator().manual_seed(seed)
    updates = spread * torch.randn(10, D, generator=g)
    updates[7:, [HEAD + 3, D - 1]] += 0.01
    return updates


def test_the_exact_gap_of_a_split() -> None:
    values = np.array([[0.0, 0.1, 1.0, 1.2], [5.0, 5.0, 5.0, 5.0], [3.0, -1.0, -1.0, -1.0]], dtype=np.float32)
    assert split_gaps(values).tolist() == pytest.approx([1.05, 0.0, 4.0])


def test_gaps_agree_with_all_splits_and_scikit_learn() -> None:
    from sklearn.cluster import KMeans

    g = np.random.default_rng(0)
    values = g.normal(size=(60, 9)).astype(np.float32)
    values[30:, :4] += 3
    for row, gap in zip(values.astype(np.float64), split_gaps(values), strict=True):
        x = np.sort(row)
        within = [x[:s].var() * s + x[s:].var() * (9 - s) for s in range(1, 9)]
        cut = int(np.argmin(within)) + 1
        assert gap == pytest.approx(x[cut:].mean() - x[:cut].mean())
        assert min(within) <= KMeans(2, n_init=5, random_state=0).fit(row[:, None]).inertia_ * (1 + 1e-9)


def test_blocks_of_columns_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 0.002 * torch.randn(8, 300, generator=torch.Generator().manual_seed(0))
    whole = indicative_columns(rows, 0.003)
    assert 20 < int(whole.sum()) < 280
    monkeypatch.setattr("defenses.rules.auror.BLOCK", 7)
    assert torch.equal(indicative_columns(rows, 0.003), whole)


def test_two_means_reach_the_best_of_many_random_starts() -> None:
    from sklearn.cluster import KMeans

    for seed in range(30):
        g = np.random.default_rng(seed)
        points = g.normal(size=(12, 4))
        points[: seed % 7] += 1.5
        points -= points.mean(0)
        mask = two_means(torch.from_numpy(points @ points.T)).numpy()
        ours = sum(((points[m] - points[m].mean(0)) ** 2).sum() for m in (mask, ~mask))
        assert ours <= KMeans(2, n_init=50, random_state=0).fit(points).inertia_ * (1 + 1e-9), seed


def test_points_in_one_place_are_one_group() -> None:
    assert two_means(gram(torch.full((6, 9), 0.3), centred=True)).all()


def test_the_smaller_group_is_dropped() -> None:
    for seed in range(10):
        result = auror(crowd(seed))
        assert accepted(result) == [True] * 7 + [False] * 3
        assert result.facts["indicative"] == 2.0
        assert min(result.per_client["score"][7:]) > max(result.per_client["score"][:7])


def test_without_indicative_coordinates_everyone_is_accepted() -> None:
    result = auror(crowd(), alpha=0.02)
    assert accepted(result) == [True] * 10
    assert result.facts["indicative"] == 0.0


def test_a_gap_of_exactly_alpha_is_indicative() -> None:
    rows = torch.tensor([[0.0, 0.0], [0.5, 0.25]])
    assert indicative_columns(rows, 0.5).tolist() == [True, False]
    assert indicative_columns(rows[:1], 0.5).tolist() == [False, False]


def test_other_layers_are_not_looked_at() -> None:
    updates = crowd()
    updates[7:, HEAD + 3], updates[7:, D - 1] = updates[:3, HEAD + 3], updates[:3, D - 1]
    updates[5:, :HEAD] += 1.0
    assert accepted(auror(updates)) == [True] * 10


def test_equal_groups_and_two_clients_have_no_minority() -> None:
    updates = torch.zeros(6, D)
    updates[3:, D - 1] = 1.0
    assert accepted(auror(updates)) == [True] * 6
    assert accepted(auror(updates[2:4])) == [True, True]


def test_coordinates_are_sought_in_the_first_rounds_only_and_then_kept() -> None:
    quiet = 1e-4 * torch.randn(10, D, generator=torch.Generator().manual_seed(1))
    state: Mapping[str, torch.Tensor] = {}
    for t in range(1, 4):
        state = auror(crowd() if t == 2 else quiet, state, t, search_rounds=3).state
    assert int(state["indicative"].sum()) == 2  # found in round 2, not forgotten in round 3
    assert state["searched"].tolist() == [3]
    other = quiet.clone()
    other[7:, HEAD] += 1.0
    late = auror(other, state, 4, search_rounds=3)
    assert int(late.state["indicative"].sum()) == 2  # the search is over
    assert accepted(late) != [True] * 7 + [False] * 3
    assert accepted(auror(crowd(5), state, 5, search_rounds=3)) == [True] * 7 + [False] * 3


def test_a_late_attack_on_coordinates_never_found_passes() -> None:
    state: Mapping[str, torch.Tensor] = {}
    for t in range(1, 11):
        state = auror(torch.zeros(10, D), state, t).state
    assert accepted(auror(crowd(), state, 11)) == [True] * 10


def test_a_giant_decoy_does_not_let_the_others_in() -> None:
    """One attacker a million times longer would otherwise be the minority, and all others the majority."""
    updates = crowd()
    updates[9] = 1e6
    result = auror(updates)
    assert accepted(result) == [True] * 7 + [False] * 3
    assert all(torch.isfinite(torch.tensor(result.per_client["score"])))
