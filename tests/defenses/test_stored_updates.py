"""What a record keeps of a round's updates is enough for some rules, exactly, and the others say that it isn't."""

from __future__ import annotations

import math

import pytest
import torch

from defenses.base import RULES
from defenses.stored_updates import NotStoredError, StoredUpdates, UpdateGeometry
from defenses.updates import ClientUpdates, ServerView, State
from tests.support.tied_updates import normal

EXACT = (
    "clip-cluster", "clip-fed-filter", "dp", "fedavg", "feddmc", "flame", "krum", "multi-krum", "norm-threshold", "rfa",
    "weak-dp",
)  # fmt: skip
"""Rules that judge what is kept as they judge the updates themselves; docs/incident.md names them."""


def rounds(n: int, seed: int, giant: bool) -> torch.Tensor:
    matrix = normal(n, 40, seed)
    matrix[1] += 0.3
    if giant:
        matrix[2] *= 1e7
    return matrix


def updates(matrix: torch.Tensor, number: int, state: State, view: ServerView) -> ClientUpdates:
    n, d = matrix.shape
    w_t = torch.linspace(-1.0, 1.0, d)
    examples = torch.arange(10.0, 10.0 + n, dtype=torch.float64)
    return ClientUpdates(w_t, matrix, examples, range(3, 3 + n), number, rng(number), state, view)


def rng(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


@pytest.mark.parametrize("giant", [False, True], ids=["alike", "giant"])
@pytest.mark.parametrize("name", EXACT)
def test_such_rules_judge_what_is_kept_exactly(name: str, giant: bool) -> None:
    rule, view = RULES[name](), ServerView(clients=9, sampled=7, rounds=4, assumed_malicious=2)
    state: State = {}
    kept_state: State = {}
    for number in (1, 2, 3):
        sent = updates(rounds(7, number, giant), number, state, view)
        kept = UpdateGeometry.from_tensors(UpdateGeometry.of(sent).tensors())
        result = rule.aggregate(sent)
        again = rule.aggregate(StoredUpdates(kept, number, rng(number), kept_state, view))
        assert torch.equal(again.weights, result.weights)
        assert again.per_client == result.per_client
        state, kept_state = result.state, again.state


def test_the_rest_says_that_it_needs_more() -> None:
    view = ServerView(clients=7, sampled=7, rounds=4)
    sent = updates(rounds(7, 1, False), 1, {}, view)
    kept = UpdateGeometry.of(sent)
    others = [name for name in RULES if name not in EXACT and RULES[name]().needs.root is None]
    for name in others:
        with pytest.raises(NotStoredError, match="needs the updates themselves"):
            RULES[name]().aggregate(StoredUpdates(kept, 1, rng(1), {}, view))


def test_measuring_changes_nothing_for_the_rule_that_follows() -> None:
    view = ServerView()
    plain = RULES["flame"]().aggregate(updates(rounds(7, 1, False), 1, {}, view))
    shown = updates(rounds(7, 1, False), 1, {}, view)
    UpdateGeometry.of(shown)
    assert torch.equal(RULES["flame"]().aggregate(shown).delta, plain.delta)


def test_distances_among_others_than_those_kept_are_refused() -> None:
    kept = UpdateGeometry.of(updates(rounds(7, 1, False), 1, {}, ServerView()))
    stored = StoredUpdates(kept, 1, rng(1), {}, ServerView())
    assert torch.equal(stored.centred_inner_among(torch.arange(7)), kept.centred_inner)
    with pytest.raises(NotStoredError, match="of its own choice"):
        stored.centred_inner_among(torch.tensor([0, 1]))
    with pytest.raises(NotStoredError):
        stored.cosines_to(torch.ones(40))
    with pytest.raises(AttributeError):
        _ = stored.nothing


@pytest.mark.parametrize("n", [1, 2])
def test_few_clients(n: int) -> None:
    kept = UpdateGeometry.of(updates(normal(n, 40, 1), 1, {}, ServerView()))
    stored = StoredUpdates(kept, 1, rng(1), {}, ServerView())
    assert len(stored) == n
    assert RULES["flame"]().aggregate(stored).weights.tolist() == [1 / n] * n


def test_damaged_numbers_are_refused() -> None:
    tensors = UpdateGeometry.of(updates(rounds(7, 1, False), 1, {}, ServerView())).tensors()
    with pytest.raises(ValueError, match="it lacks norms"):
        UpdateGeometry.from_tensors({name: t for name, t in tensors.items() if name != "norms"})
    with pytest.raises(ValueError, match="don't agree"):
        UpdateGeometry.from_tensors(tensors | {"inner": torch.zeros(3, 3, dtype=torch.float64)})
    with pytest.raises(ValueError, match="don't agree"):
        UpdateGeometry.from_tensors({name: t[:0] for name, t in tensors.items()})


def test_a_round_of_zeros_is_kept_too() -> None:
    kept = UpdateGeometry.of(updates(torch.zeros(4, 40), 1, {}, ServerView()))
    result = RULES["multi-krum"]().aggregate(StoredUpdates(kept, 1, rng(1), {}, ServerView()))
    assert all(math.isfinite(weight) for weight in result.weights.tolist())
