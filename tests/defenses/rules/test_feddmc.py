"""FedDMC: the tree, its outliers, and the average of past verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
import torch

from defenses.base import Aggregate, ClientUpdates
from defenses.kernels.linkage import MergeTree, merge_tree
from defenses.rules.feddmc import FedDMC, benign_branch


def feddmc(
    updates: torch.Tensor,
    ids: Sequence[int] | None = None,
    state: Mapping[str, torch.Tensor] | None = None,
    **options: object,
) -> Aggregate:
    n, d = updates.shape
    return FedDMC.model_validate(options).aggregate(
        ClientUpdates(torch.zeros(d), updates, torch.ones(n), ids or range(n), 1, torch.Generator(), state or {})
    )


def accepted(result: Aggregate) -> list[bool]:
    return (result.weights > 0).tolist()


def line(*places: float) -> MergeTree:
    x = torch.tensor(places, dtype=torch.float64)
    return merge_tree((x[:, None] - x).abs(), "ward")


def crowd(honest: int, bad: int, seed: int, away: float = 3.0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    rows = torch.randn(honest + bad, 60, generator=g)
    rows[honest:] += away * torch.randn(60, generator=g)
    return rows


def test_the_smaller_branch_is_malicious() -> None:
    benign, peeled = benign_branch(line(0, 0.1, 0.2, 0.3, 0.4, 0.5, 9, 9.1, 9.2, 9.3), 3, 10)
    assert benign.tolist() == [True] * 6 + [False] * 4
    assert peeled == 0


def test_small_branches_are_outliers_and_the_rest_is_looked_at_again() -> None:
    """One far point is cut off; without that it would be the malicious branch and the real one would be benign."""
    places = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 9, 9.1, 9.2, 9.3, 500]
    benign, peeled = benign_branch(line(*places), 3, 13)
    assert benign.tolist() == [True] * 8 + [False] * 5
    assert peeled == 1
    blind, _ = benign_branch(line(*places), 0, 13)
    assert blind.tolist() == [True] * 12 + [False]


def test_no_branch_with_a_majority_means_all_that_remain_are_benign() -> None:
    benign, peeled = benign_branch(line(0, 0.1, 0.2, 0.3, 9, 9.1, 9.2, 9.3), 3, 8)
    assert (bool(benign.all()), peeled) == (True, 0)
    benign, peeled = benign_branch(line(0, 0.1, 0.2, 0.3, 9, 9.1, 9.2, 9.3, 400), 3, 9)
    assert benign.tolist() == [True] * 8 + [False]
    assert peeled == 1


def test_peeling_never_goes_below_a_majority() -> None:
    for n in range(1, 25):
        benign, _ = benign_branch(line(*[3.0**i for i in range(n)]), 3, n)  # every split cuts off one point
        assert int(benign.sum()) == n // 2 + 1


def test_planted_attackers_are_found() -> None:
    for seed in range(15):
        assert accepted(feddmc(crowd(12, 6, seed))) == [True] * 12 + [False] * 6


def test_identical_and_few_clients_are_benign() -> None:
    assert accepted(feddmc(torch.ones(8, 5))) == [True] * 8
    assert accepted(feddmc(torch.tensor([[1.0, 0.0], [0.0, 9.0]]))) == [True, True]


def test_a_giant_does_not_hide_other_attackers() -> None:
    updates = crowd(12, 6, 0)
    updates[17] = 1e30
    assert accepted(feddmc(updates)) == [True] * 12 + [False] * 6


def test_the_first_verdict_counts_and_later_ones_are_averaged() -> None:
    honest, attacked = crowd(12, 6, 1, away=0.0), crowd(12, 6, 1)
    result = feddmc(attacked)
    assert result.per_client["score"] == pytest.approx([0.35] * 12 + [0.65] * 6)
    state = result.state
    for expected in (0.755, 0.8285):
        result = feddmc(attacked, state=state)
        state = result.state
        assert result.per_client["score"][17] == pytest.approx(expected)
    pardoned = feddmc(torch.ones(18, 5), state=state)
    assert accepted(pardoned) == [True] * 12 + [False] * 6  # one clean round doesn't clear a record
    assert pardoned.per_client["verdict"] == [0.0] * 18
    assert bool(honest.any())


def test_one_alarm_after_a_clean_record_is_forgiven() -> None:
    state: Mapping[str, torch.Tensor] = {}
    for _ in range(10):
        state = feddmc(torch.ones(18, 60), state=state).state
    first = feddmc(crowd(12, 6, 2), state=state)
    assert first.per_client["verdict"] == [0.0] * 12 + [1.0] * 6
    assert accepted(first) == [True] * 18
    assert accepted(feddmc(crowd(12, 6, 2), state=first.state)) == [True] * 12 + [False] * 6
    assert accepted(feddmc(crowd(12, 6, 2), state=state, memory=0.0)) == [True] * 12 + [False] * 6


def test_verdicts_belong_to_ids_under_sampling() -> None:
    ids = list(range(40, 58))
    state = feddmc(crowd(12, 6, 3), ids).state
    assert state["ids"].tolist() == ids
    later = feddmc(torch.ones(4, 5), [57, 40, 99, 52], state)
    assert later.per_client["score"] == pytest.approx([0.7 * 0.65, 0.7 * 0.35, 0.35, 0.7 * 0.65])
    assert later.state["ids"].tolist() == [*ids, 99]
    assert later.state["verdict"][1].item() == pytest.approx(0.35)  # 41 wasn't there and keeps its own


def test_everybody_rejected_keeps_the_model() -> None:
    state = {"ids": torch.arange(3), "verdict": torch.ones(3, dtype=torch.float64)}
    result = feddmc(torch.ones(3, 4), state=state)
    assert result.weights.tolist() == [0.0] * 3
    assert result.delta.tolist() == [0.0] * 4
