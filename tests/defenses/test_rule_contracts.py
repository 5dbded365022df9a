"""Every registered rule keeps the same promises; a new rule is tested unasked."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch
from _pytest.mark import ParameterSet

from defenses.base import RULES, AggregationRule
from defenses.contracts import RULE_PROMISES
from defenses.contracts.promises import check_one
from defenses.contracts.rules import agrees_with, crowd, run
from tests.references import active_rules_references as active
from tests.references import defense_references as passive

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
    (UNBOUNDED, "fldetector"): "a plain mean until a client has a full history of scores; see test_fldetector.py",
    (UNBOUNDED, "flpurifier"): "it averages extractors plainly, clients train differently; see test_flpurifier.py",
}
"""Promises that a rule can't keep by what it is, and why; what it does instead is tested where the reason says."""


@pytest.fixture(params=NAMES)
def rule(request: pytest.FixtureRequest) -> AggregationRule:
    return RULES.create(request.param, active.LIGHT_OPTIONS.get(request.param))


def test_the_built_in_rules_are_registered() -> None:
    assert {"fedavg", "flame", "clip-fed-filter"} <= set(NAMES)


EXACT = (UNBOUNDED, AGREEING)
"""Promises of a rule without its noise and draws (``EXACT_OPTIONS``)."""


def _cases() -> Iterator[ParameterSet]:
    for name, promise in itertools.product(NAMES, RULE_PROMISES):
        why = EXEMPT.get((promise, name))
        marks = [] if why is None else [pytest.mark.xfail(strict=True, raises=AssertionError, reason=why)]
        yield pytest.param(name, promise, marks=marks, id=f"{name}-{promise.replace(' ', '-')}")


@pytest.mark.parametrize(("name", "promise"), list(_cases()))
def test_keeps_its_promise(name: str, promise: str) -> None:
    """Those that a rule can't keep must fail: an exemption ends with its reason."""
    options = EXACT_OPTIONS if promise in EXACT else active.LIGHT_OPTIONS
    check_one(RULES.create(name, options.get(name)), RULE_PROMISES, promise)


def test_exemptions_name_rules_and_promises_that_are_there() -> None:
    assert {name for _, name in EXEMPT} <= set(NAMES)
    assert {promise for promise, _ in EXEMPT} <= set(RULE_PROMISES)


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_agrees_with_a_slow_loop(name: str) -> None:
    agrees_with(RULES.create(name, EXACT_OPTIONS.get(name)), REFERENCES[name])


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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same(rule: AggregationRule) -> None:
    updates = crowd(12)
    exact = RULES.create(rule.name, EXACT_OPTIONS.get(rule.name))
    here, there = exact(updates), exact(updates.cuda())
    assert there.delta.is_cuda
    torch.testing.assert_close(there.delta.cpu(), here.delta, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(there.weights, here.weights)
