"""Every registered rule keeps the same promises; a new rule is tested unasked."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from defenses.base import RULES, Aggregate, AggregationRule, ClientUpdates
from defenses.updates import ServerView
from tests.references import active_rules_references as active
from tests.references import defense_references as passive
from tests.support.tiny_layout import D, tiny_start, tiny_view

NAMES = sorted(RULES)
REFERENCES = passive.REFERENCES | active.REFERENCES
EXACT_OPTIONS = passive.EXACT_OPTIONS | active.EXACT_OPTIONS
UNBOUNDED = "a huge update is rejected or clipped"
AGREEING = "identical updates are all accepted and returned"
STILL = "all-zero updates change nothing"
EXEMPT = {
    (UNBOUNDED, "fedavg"): "a plain mean accepts everything: that is why it is undefended",
    (UNBOUNDED, "foolsgold"): "it looks at directions only; test_foolsgold.py shows that length is not bounded",
    (AGREEING, "foolsgold"): "identical clients are sybils to it and all lose their vote; see test_foolsgold.py",
    (AGREEING, "fltrust"): "updates take the root update's length, and only those along it count; see test_fltrust.py",
    (UNBOUNDED, "rfout"): "below eleven clients it is a plain mean, above it damps only; see test_rlr_and_rfout.py",
    (UNBOUNDED, "rlr"): "it judges signs, not lengths; see test_rlr_and_rfout.py",
    (AGREEING, "krum"): "it takes one update, of equal ones the first; see test_krum_family.py",
    (AGREEING, "multi-krum"): "it takes m updates, of equal ones the first; see test_krum_family.py",
    (AGREEING, "bulyan"): "it takes theta updates, of equal ones the first; see test_krum_family.py",
    (STILL, "weak-dp"): "its noise doesn't depend on the updates; see test_clipping_rules.py",
    (STILL, "dp"): "its noise must not depend on the updates; see test_dp.py",
    (AGREEING, "crfl"): "it clips the model and adds noise, whatever the updates are; see test_crfl.py",
    (STILL, "crfl"): "it clips the model and adds noise, whatever the updates are; see test_crfl.py",
    (UNBOUNDED, "crfl"): "it bounds the model, not the update; see test_crfl.py",
    (UNBOUNDED, "fldetector"): "a plain mean until a client has a full history of scores; see test_fldetector.py",
    (UNBOUNDED, "flpurifier"): "it averages extractors plainly, clients train differently; see test_flpurifier.py",
}
"""Promises that a rule can't keep by what it is, and why; what it does instead is tested where the reason says."""


def promised(promise: str, rule: AggregationRule) -> None:
    """Skip the test for a rule that is exempt from the promise."""
    if (promise, rule.name) in EXEMPT:
        pytest.skip(EXEMPT[promise, rule.name])


def run(
    rule: AggregationRule, updates: torch.Tensor, *, examples: torch.Tensor | None = None, ids: list[int] | None = None,
    w_t: torch.Tensor | None = None, seed: int = 3, state: dict[str, torch.Tensor] | None = None, round: int = 1,
) -> Aggregate:  # fmt: skip
    n = len(updates)
    start = tiny_start() if w_t is None else w_t
    return rule.aggregate(
        ClientUpdates(
            start,
            updates,
            torch.arange(10, 10 + n, dtype=torch.float64) if examples is None else examples,
            list(range(100, 100 + n)) if ids is None else ids,
            round,
            torch.Generator().manual_seed(seed),
            state or {},
            tiny_view(start, n) if updates.shape[1] == D else ServerView(),
        )
    )


def crowd(n: int, seed: int = 0, d: int = D) -> torch.Tensor:
    """Updates around a common direction; the last fifth is shifted."""
    g = torch.Generator().manual_seed(seed)
    rows = 0.05 * torch.randn(n, d, generator=g) + 0.1 * torch.randn(d, generator=g)
    rows[n - n // 5 :] -= 0.4
    return rows * torch.rand(n, 1, generator=g).add(0.5)


def assert_valid(result: Aggregate, n: int, d: int = D) -> None:
    assert result.delta.shape == (d,)
    assert result.delta.dtype == torch.float32
    assert bool(torch.isfinite(result.delta).all())
    assert result.weights.shape == (n,)
    assert result.weights.dtype == torch.float64
    assert bool((result.weights >= 0).all())
    total = float(result.weights.sum())
    assert total == 0.0 or math.isclose(total, 1.0, rel_tol=1e-9)
    for name, values in result.per_client.items():
        assert len(values) == n, name
        assert all(math.isfinite(v) for v in values), name
    assert all(math.isfinite(v) for v in result.facts.values())


@pytest.fixture(params=NAMES)
def rule(request: pytest.FixtureRequest) -> AggregationRule:
    return RULES.create(request.param, active.LIGHT_OPTIONS.get(request.param))


def test_the_built_in_rules_are_registered() -> None:
    assert {"fedavg", "flame", "clip-fed-filter"} <= set(NAMES)


def test_names_its_source(rule: AggregationRule) -> None:
    assert rule.paper


def test_says_what_it_costs_and_what_it_remembers(rule: AggregationRule) -> None:
    assert rule.cost
    state: dict[str, torch.Tensor] = {}
    for t in (1, 2):
        state = dict(run(rule, crowd(8, t), state=state, round=t).state)
    if state:
        assert rule.state_kept
    elif rule.name not in ("norm-threshold", "weak-dp"):  # theirs is kept by an option only
        assert not rule.state_kept


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 10, 17])
def test_result_is_valid_for_any_number_of_clients(rule: AggregationRule, n: int) -> None:
    if n >= rule.min_clients:
        assert_valid(run(rule, crowd(n)), n)


def test_bare_call_equals_aggregate_with_a_zero_model(rule: AggregationRule) -> None:
    updates = crowd(9)
    if rule.needs.root:  # there is none in a bare call, and no rule may fall back to a plain mean in silence
        with pytest.raises(ValueError, match="root set"):
            rule(updates)
        return
    full = rule.aggregate(
        ClientUpdates(
            torch.zeros(D), updates, torch.ones(9, dtype=torch.float64), range(9), 1, torch.Generator().manual_seed(0)
        )
    )
    assert torch.equal(rule(updates).delta, full.delta)


@pytest.mark.parametrize("n", [4, 9, 16])
def test_the_order_of_clients_is_irrelevant(rule: AggregationRule, n: int) -> None:
    updates, examples = crowd(n), torch.arange(10, 10 + n, dtype=torch.float64)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(5))
    ids = list(range(100, 100 + n))
    plain = run(rule, updates, examples=examples, ids=ids)
    moved = run(rule, updates[order], examples=examples[order], ids=[ids[i] for i in order])
    torch.testing.assert_close(moved.weights, plain.weights[order], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(moved.delta, plain.delta, rtol=1e-5, atol=1e-7)
    for name, values in plain.per_client.items():
        assert moved.per_client[name] == pytest.approx([values[i] for i in order], rel=1e-6, abs=1e-9), name


def test_inputs_are_left_as_they_were(rule: AggregationRule) -> None:
    n = 9
    updates, w_t, examples = crowd(n), tiny_start(), torch.full((n,), 7.0, dtype=torch.float64)
    state = dict(run(rule, updates).state)
    copies = [t.clone() for t in (updates, w_t, examples, *state.values())]
    run(rule, updates, w_t=w_t, examples=examples, state=state, round=2)
    assert all(torch.equal(a, b) for a, b in zip(copies, (updates, w_t, examples, *state.values()), strict=True))


def test_same_seed_same_result_and_the_global_generator_is_untouched(rule: AggregationRule) -> None:
    before = torch.get_rng_state()
    first, second = run(rule, crowd(9)), run(rule, crowd(9))
    assert torch.equal(first.delta, second.delta)
    assert torch.equal(first.weights, second.weights)
    assert torch.equal(before, torch.get_rng_state())


def test_identical_updates_are_all_accepted_and_returned(rule: AggregationRule) -> None:
    promised(AGREEING, rule)
    one = torch.randn(D, generator=torch.Generator().manual_seed(1))
    result = run(RULES.create(rule.name, EXACT_OPTIONS.get(rule.name)), one.repeat(10, 1))
    assert_valid(result, 10)
    assert bool((result.weights > 0).all())
    torch.testing.assert_close(result.delta, one, rtol=1e-6, atol=1e-7)


def test_all_zero_updates_change_nothing(rule: AggregationRule) -> None:
    promised(STILL, rule)
    result = run(rule, torch.zeros(8, D))
    assert_valid(result, 8)
    assert not bool(result.delta.any())


@pytest.mark.parametrize("n", [1, 2, 3, 10])
@pytest.mark.parametrize("size", [1e30, -1e30, 3e38])
def test_one_huge_update_gives_a_finite_result(rule: AggregationRule, n: int, size: float) -> None:
    updates = crowd(n)
    updates[n // 2] = size
    if n >= rule.min_clients:
        assert_valid(run(rule, updates), n)


def test_a_huge_update_is_rejected_or_clipped(rule: AggregationRule) -> None:
    promised(UNBOUNDED, rule)
    updates = crowd(10)
    updates[4] = 1e30
    result = run(RULES.create(rule.name, EXACT_OPTIONS.get(rule.name)), updates)
    assert float(result.delta.norm()) <= 2.0 * float(updates[5:].norm(dim=1).max())


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), float("-inf")])
def test_non_finite_updates_raise_and_name_the_clients(rule: AggregationRule, poison: float) -> None:
    updates = crowd(6)
    updates[2, 11], updates[5, 0] = poison, poison
    with pytest.raises(ValueError, match=r"\[102, 105\]"):
        run(rule, updates)


def test_opposite_infinities_in_one_row_are_seen(rule: AggregationRule) -> None:
    updates = crowd(4)
    updates[1, 0], updates[1, 1] = float("inf"), float("-inf")
    with pytest.raises(ValueError, match=r"\[101\]"):
        run(rule, updates)


def test_no_clients_or_missing_ids_raise(rule: AggregationRule) -> None:
    with pytest.raises(ValueError, match="n >= 1"):
        run(rule, torch.zeros(0, 4))
    with pytest.raises(ValueError, match="2 ids"):
        run(rule, torch.ones(3, 4), ids=[1, 2])


def test_state_survives_a_restart(rule: AggregationRule) -> None:
    kept: dict[str, torch.Tensor] = {}
    restored: dict[str, torch.Tensor] = {}
    for t in range(1, 4):
        a, b = run(rule, crowd(8, t), state=kept, round=t), run(rule, crowd(8, t), state=restored, round=t)
        assert torch.equal(a.delta, b.delta)
        kept, restored = dict(a.state), load(save(dict(b.state)))
        assert kept.keys() == restored.keys()
        assert all(torch.equal(kept[name], restored[name]) for name in kept)


@pytest.mark.parametrize("name", sorted(REFERENCES))
@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 12, 20])
def test_agrees_with_a_slow_loop(name: str, n: int) -> None:
    rule = RULES.create(name, EXACT_OPTIONS.get(name))
    if n < rule.min_clients:
        pytest.skip(f"needs {rule.min_clients} clients")
    for seed in range(5):
        updates = crowd(n, seed)
        examples = torch.randint(1, 99, (n,), generator=torch.Generator().manual_seed(seed)).double()
        w_t = tiny_start(seed)
        expected = REFERENCES[name](w_t.double().numpy(), updates.double().numpy(), examples.numpy())
        got = run(rule, updates, examples=examples, w_t=w_t).delta.double().numpy()
        assert np.linalg.norm(got - expected) <= 1e-5 * np.linalg.norm(expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same(rule: AggregationRule) -> None:
    updates = crowd(12)
    exact = RULES.create(rule.name, EXACT_OPTIONS.get(rule.name))
    here, there = exact(updates), exact(updates.cuda())
    assert there.delta.is_cuda
    torch.testing.assert_close(there.delta.cpu(), here.delta, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(there.weights, here.weights)
