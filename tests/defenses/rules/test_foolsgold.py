"""FoolsGold: a worked number, its memory by client id, and what public code leaves out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch

from defenses.base import Aggregate, ClientUpdates
from defenses.contracts.setting import SLOTS, D, tiny_start, tiny_view
from defenses.rules.foolsgold import FoolsGold, foolsgold_weights

ROWS = torch.tensor([[1.0, 0.0, 0.0], [0.9, 0.1, 0.0], [0.0, 1.0, 0.0], [0.0, 0.3, 1.0]])
HEAD = slice(next(s.start for s in SLOTS if s.name == "classifier.weight"), D)


def foolsgold(
    updates: torch.Tensor,
    ids: Sequence[int] | None = None,
    state: Mapping[str, torch.Tensor] | None = None,
    round: int = 1,
    **options: object,
) -> Aggregate:
    n, d = updates.shape
    start = tiny_start() if d == D else torch.zeros(d)
    seen = ClientUpdates(
        start, updates, torch.ones(n), ids or range(n), round, torch.Generator(), state or {},
        **({"server": tiny_view(start, n)} if d == D else {}),
    )  # fmt: skip
    return FoolsGold.model_validate(options).aggregate(seen)


def test_the_worked_number() -> None:
    result = foolsgold(ROWS)
    assert result.per_client["trust"] == [0.0, 0.0, 1.0, 1.0]
    torch.testing.assert_close(result.delta, (ROWS[2] + ROWS[3]) / 2)
    assert result.weights.tolist() == [0.0, 0.0, 0.5, 0.5]


def test_sybils_without_a_history_are_not_trusted() -> None:
    """Attackers who leave the compared columns alone resemble nobody; honest clients resemble each other."""
    rows = torch.tensor([[1.0, 0.0, 0.2], [0.0, 1.0, 0.1], [0.3, 0.2, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    result, honest = foolsgold(rows, features="all"), foolsgold(rows[:3], features="all")
    assert result.per_client["trust"] == [*honest.per_client["trust"], 0.0, 0.0]
    assert torch.equal(result.delta, honest.delta)
    alike = torch.tensor([[1.0, 0.1, 0.0], [1.0, 0.0, 0.1], [1.0, 0.1, 0.1], [0.0, 0.0, 0.0]])
    assert foolsgold(alike, features="all").per_client["trust"][3] == 0.0


def test_pardon_and_logit_of_a_case_between_the_extremes() -> None:
    similar = torch.tensor([[1.0, 0.7, 0.5], [0.7, 1.0, 0.1], [0.5, 0.1, 1.0]], dtype=torch.float64)
    trust, alike = foolsgold_weights(similar)
    pardoned = [0.7, 0.7, 0.5 * 0.50001 / 0.70001]
    assert alike.tolist() == pytest.approx(pardoned)
    share = (1 - 0.7) / (1 - pardoned[2])
    logit = min(1.0, max(0.0, math.log(share / (1 - share)) + 0.5))
    assert 0.0 < logit < 1.0
    assert trust.tolist() == pytest.approx([logit, logit, 1.0])
    steep, _ = foolsgold_weights(similar, kappa=2.0)
    assert steep.tolist() == pytest.approx([min(1.0, 2 * logit)] * 2 + [1.0])


def test_identical_clients_all_lose_their_vote() -> None:
    result = foolsgold(torch.tensor([[0.3, 0.4]]).repeat(6, 1))
    assert result.weights.tolist() == [0.0] * 6
    assert result.delta.tolist() == [0.0, 0.0]


def test_rounding_does_not_give_identical_sybils_a_vote() -> None:
    """1 - cos of equal rows is 1e-16 here and there; divided by the largest it would become full trust."""
    one = torch.randn(D, generator=torch.Generator().manual_seed(3))
    for n in range(2, 12):
        assert not bool(foolsgold(one.repeat(n, 1), features="all").weights.any())


def test_a_single_client_is_trusted() -> None:
    assert foolsgold(ROWS[:1]).weights.tolist() == [1.0]


def test_sybils_who_hide_in_one_round_are_found_by_their_history() -> None:
    g = torch.Generator().manual_seed(0)
    goal, d = torch.randn(200, generator=g), 200
    state: Mapping[str, torch.Tensor] = {}
    trusts = []
    for t in range(1, 16):
        honest = torch.randn(3, d, generator=g) + 3 * torch.eye(3, d) * 5
        sybils = goal + 2.0 * torch.randn(2, d, generator=g)  # one round's cosine is about 0.2
        result = foolsgold(torch.cat([honest, sybils]), state=state, round=t)
        state = result.state
        trusts.append(result.per_client["trust"])
    assert min(trusts[0]) == 1.0
    assert trusts[-1][3:] == [0.0, 0.0]
    assert min(trusts[-1][:3]) > 0.5


def test_history_belongs_to_ids_under_sampling() -> None:
    g = torch.Generator().manual_seed(1)
    own: dict[int, np.ndarray] = {}
    state: Mapping[str, torch.Tensor] = {}
    for t, ids in enumerate([[4, 9, 2], [2, 7], [9, 4, 7, 1], [1, 2, 4]], start=1):
        updates = 0.7 * torch.randn(len(ids), 5, generator=g)
        state = foolsgold(updates, ids, state, t).state
        for client, row in zip(ids, updates.double().numpy(), strict=True):
            own[client] = own.get(client, np.zeros(5)) + row / max(1.0, float(np.linalg.norm(row)))
    assert state["ids"].tolist() == sorted(own)
    for client, row in zip(state["ids"].tolist(), state["history"].double().numpy(), strict=True):
        assert row == pytest.approx(own[client], rel=1e-5)


def test_only_long_updates_are_normalised_in_the_history() -> None:
    history = foolsgold(torch.tensor([[30.0, 40.0], [0.3, -0.4]])).state["history"]
    torch.testing.assert_close(history, torch.tensor([[0.6, 0.8], [0.3, -0.4]]))


def test_the_last_layer_is_what_counts_by_default() -> None:
    g = torch.Generator().manual_seed(2)
    updates = torch.randn(4, D, generator=g)
    updates[2:, : HEAD.start] = 5.0  # alike in every layer but the last
    last, whole = foolsgold(updates), foolsgold(updates, features="all")
    assert last.state["history"].shape == (4, D - HEAD.start)
    assert min(last.per_client["trust"]) > 0.5
    assert whole.per_client["trust"][2:] == [0.0, 0.0]
    updates = torch.randn(4, D, generator=g)
    updates[3, HEAD] = updates[2, HEAD]  # alike in the last layer only
    assert foolsgold(updates).per_client["trust"][2:] == [0.0, 0.0]
    assert min(foolsgold(updates, features="all").per_client["trust"]) == 1.0


def test_length_is_not_bounded() -> None:
    """A lone attacker unlike everyone else keeps full weight, however long its update: the rule's known limit."""
    updates = torch.eye(4, 6)
    updates[3] *= 1e6
    result = foolsgold(updates)
    assert result.weights.tolist() == [0.25] * 4
    assert float(result.delta.norm()) > 1e5
