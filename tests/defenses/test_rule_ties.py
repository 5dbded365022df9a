"""Where choices are equally good no rule may let the order of the clients decide; a new rule is tested unasked."""

from __future__ import annotations

import pytest
import torch

from defenses.base import RULES, Aggregate, AggregationRule, ClientUpdates
from defenses.contracts.setting import D, tiny_start, tiny_view
from defenses.kernels.ties import level_ties
from tests.references import active_rules_references as active
from tests.support.tied_updates import TIED

BY_ID = {
    "krum": "it takes one update: of equally good ones that of the lowest client id",
    "multi-krum": "it takes m updates: of equally good ones those of the lowest client ids",
    "bulyan": "it takes theta updates: of equally good ones those of the lowest client ids",
    "clip-cluster": "it always makes two clusters: equal distances are merged in the order of client ids",
    "feddmc": "its tree is binary: equal distances are merged in the order of client ids",
    "auror": "it always makes two groups: of equally good splits the first by client ids",
    "signguard": "it takes one cluster: of equally large ones the first by client ids",
    "signguard-sim": "it takes one cluster: of equally large ones the first by client ids",
}
"""Rules that settle a tie by client id, and why they must; for all others ids are irrelevant as well."""
VARIANTS: dict[str, list[dict[str, object]]] = {
    "clip-fed-filter": [{"method": "hdbscan"}, {"normalise": True}, {"pca_components": 1}, {"explained_variance": 0.6}],
    "flame": [{"cosine_on": "updates"}, {"cosine_on": "updates", "method": "hdbscan"}],
    "freqfed": [{"cosine_on": "updates"}, {"cosine_on": "updates", "method": "hdbscan"}],
    "multi-krum": [{"m": 2}, {"m": 2, "iterative": True}],
    "signguard": [{"clustering": "dbscan"}, {"share": 1.0}],
    "signguard-sim": [{"clustering": "dbscan"}, {"share": 1.0}],
    "fedcpa": [{"correlation": "spearman", "fraction": 0.1}],
}
CASES = [(name, options) for name in sorted(RULES) for options in ({}, *VARIANTS.get(name, []))]


def create(name: str, options: dict[str, object]) -> AggregationRule:
    return RULES.create(name, {**active.LIGHT_OPTIONS.get(name, {}), **options})


def run(
    rule: AggregationRule, updates: torch.Tensor, ids: list[int], state: dict[str, torch.Tensor], round: int
) -> Aggregate:
    n, start = len(updates), tiny_start()
    examples = torch.full((n,), 10.0, dtype=torch.float64)
    rng = torch.Generator().manual_seed(round)
    return rule.aggregate(ClientUpdates(start, updates, examples, ids, round, rng, state, tiny_view(start, n)))


def assert_same(moved: Aggregate, plain: Aggregate, order: torch.Tensor, what: str) -> None:
    torch.testing.assert_close(moved.weights, plain.weights[order], rtol=1e-9, atol=1e-12, msg=what)
    torch.testing.assert_close(moved.delta, plain.delta, rtol=1e-5, atol=1e-7, msg=what)
    for name, values in plain.per_client.items():
        assert moved.per_client[name] == pytest.approx([values[i] for i in order], rel=1e-6, abs=1e-9), (what, name)


def orders(n: int, many: int = 3) -> list[torch.Tensor]:
    return [torch.randperm(n, generator=torch.Generator().manual_seed(seed)) for seed in range(many)]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_ties_are_settled_alike_in_every_order(name: str, options: dict[str, object]) -> None:
    """Rows, ids and what is remembered of them move together, over two rounds."""
    rule = create(name, options)
    for number, (what, build) in enumerate(TIED.items()):
        updates = build(D, number)
        n = len(updates)
        if n < rule.min_clients:
            continue
        ids = list(range(100, 100 + n))
        first = run(rule, updates, ids, {}, 1)
        second = run(rule, updates, ids, dict(first.state), 2)
        for order in orders(n):
            moved_ids = [ids[i] for i in order]
            moved = run(rule, updates[order], moved_ids, {}, 1)
            assert_same(moved, first, order, what)
            assert_same(run(rule, updates[order], moved_ids, dict(moved.state), 2), second, order, what)


@pytest.mark.parametrize(("name", "options"), [case for case in CASES if case[0] not in BY_ID])
def test_who_is_called_what_settles_no_tie(name: str, options: dict[str, object]) -> None:
    """Rows move, ids stay."""
    rule = create(name, options)
    for number, (what, build) in enumerate(TIED.items()):
        updates = build(D, number)
        n = len(updates)
        ids = list(range(100, 100 + n))
        plain = run(rule, updates, ids, {}, 1)
        for order in orders(n):
            assert_same(run(rule, updates[order], ids, {}, 1), plain, order, what)


@pytest.mark.parametrize("name", sorted(BY_ID))
def test_the_rules_that_settle_ties_by_id_do(name: str) -> None:
    """The list is strict: a rule that stops needing ids leaves it."""
    rule = create(name, {})

    def depends(updates: torch.Tensor, order: torch.Tensor) -> bool:
        ids = list(range(len(updates)))
        plain, moved = run(rule, updates, ids, {}, 1), run(rule, updates[order], ids, {}, 1)
        return not torch.allclose(moved.weights, plain.weights[order])

    rounds = [build(D, number) for number, build in enumerate(TIED.values())]
    assert any(
        depends(updates, order)
        for updates in rounds
        if len(updates) >= rule.min_clients
        for order in orders(len(updates), 20)
    )


def test_what_rounding_parted_is_made_equal_again() -> None:
    numbers = torch.tensor(
        [[0.0, 1.0 + 1e-15, torch.inf], [1.0, 2.0, torch.inf], [1e-16, 1.0 + 2e-15, 1.5]], dtype=torch.float64
    )
    levelled = level_ties(numbers, 2e-15)
    assert levelled.tolist() == [[0.0, 1.0, torch.inf], [1.0, 2.0, torch.inf], [0.0, 1.0, 1.5]]
    assert torch.equal(level_ties(numbers, 0.0), numbers)
    assert level_ties(torch.zeros(0), 1.0).tolist() == []
