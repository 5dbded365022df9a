"""What every aggregation rule promises."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save
from torch import Tensor

from defenses.base import Aggregate, AggregationRule
from defenses.contracts.promises import Promise, check_all, require
from defenses.contracts.setting import D, tiny_start, tiny_view
from defenses.updates import ClientUpdates, ServerView

Reference = Callable[[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
"""Slow, obvious version of a rule: w_t ``[d]``, U ``[n, d]``, examples ``[n]``, all float64, to delta ``[d]``."""
NUMBERS = (1, 2, 3, 4, 5, 10, 17)
"""Clients of a round; a rule is asked about those that its ``min_clients`` allows."""


def check_rule(rule: AggregationRule, *, reference: Reference | None = None, exempt: Collection[str] = ()) -> None:
    """Check all promises of :data:`RULE_PROMISES` on rounds of a tiny model with up to 20 clients.

    Rules get only finite input: ``ClientUpdates`` refuses NaN and infinity, so no promise speaks of them.

    Args:
        rule: the rule, registered or not.
        reference: what it must agree with, to 1e-5 of the length of the result.
        exempt: promises that it can't keep by what it is; each must really be broken.

    Raises:
        AssertionError: names the promise and what was found.
        ValueError: ``exempt`` names no promise.
    """
    check_all(rule, RULE_PROMISES, exempt)
    if reference is not None:
        agrees_with(rule, reference)


def run(
    rule: AggregationRule, updates: Tensor, *, examples: Tensor | None = None, ids: Sequence[int] | None = None,
    w_t: Tensor | None = None, seed: int = 3, state: Mapping[str, Tensor] | None = None, round: int = 1,
) -> Aggregate:  # fmt: skip
    """One round of a rule on a tiny model, or on vectors without a layout where the sizes differ."""
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


def crowd(n: int, seed: int = 0, d: int = D) -> Tensor:
    """Updates float32 ``[n, d]`` around a common direction; the last fifth is shifted."""
    g = torch.Generator().manual_seed(seed)
    rows = 0.05 * torch.randn(n, d, generator=g) + 0.1 * torch.randn(d, generator=g)
    rows[n - n // 5 :] -= 0.4
    return rows * torch.rand(n, 1, generator=g).add(0.5)


def require_valid(result: Aggregate, n: int, d: int = D) -> None:
    """Raise AssertionError where a result isn't what a rule may return for n clients."""
    require(result.delta.shape == (d,), f"delta has shape {tuple(result.delta.shape)}, not ({d},), n = {n}")
    require(result.delta.dtype == torch.float32, f"delta is {result.delta.dtype}, not float32")
    require(bool(torch.isfinite(result.delta).all()), f"delta isn't finite, n = {n}")
    require(result.weights.shape == (n,), f"weights have shape {tuple(result.weights.shape)}, not ({n},)")
    require(result.weights.dtype == torch.float64, f"weights are {result.weights.dtype}, not float64")
    require(bool((result.weights >= 0).all()), f"weights {result.weights.tolist()} are negative, or NaN")
    total = float(result.weights.sum())
    require(total == 0.0 or math.isclose(total, 1.0, rel_tol=1e-9), f"weights sum to {total}, not to 1 or 0")
    for name, values in result.per_client.items():
        require(len(values) == n, f"diagnostic {name} has {len(values)} numbers for {n} clients")
        require(all(math.isfinite(v) for v in values), f"diagnostic {name} isn't finite")
    for name, value in result.facts.items():
        require(math.isfinite(value), f"fact {name} is {value}")
    for name, kept in result.state.items():
        require(isinstance(kept, Tensor), f"state {name} is {type(kept).__name__}, not a tensor")


# --- the promises -----------------------------------------------------------------------------------------------------


def _few_clients(rule: AggregationRule) -> None:
    for n in _numbers(rule, NUMBERS):
        require_valid(run(rule, crowd(n)), n)


def _order(rule: AggregationRule) -> None:
    for n in _numbers(rule, (4, 9, 16)):
        updates, examples = crowd(n), torch.arange(10, 10 + n, dtype=torch.float64)
        order = torch.randperm(n, generator=torch.Generator().manual_seed(5))
        ids = list(range(100, 100 + n))
        plain = run(rule, updates, examples=examples, ids=ids)
        moved = run(rule, updates[order], examples=examples[order], ids=[ids[i] for i in order])
        torch.testing.assert_close(moved.weights, plain.weights[order], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(moved.delta, plain.delta, rtol=1e-5, atol=1e-7)
        for name, values in plain.per_client.items():
            expected = [values[i] for i in order]
            near = np.allclose(moved.per_client[name], expected, rtol=1e-6, atol=1e-9)
            require(near, f"diagnostic {name} is {moved.per_client[name]}, not {expected}, n = {n}")


def _inputs(rule: AggregationRule) -> None:
    n = max(9, rule.min_clients)
    updates, w_t, examples = crowd(n), tiny_start(), torch.full((n,), 7.0, dtype=torch.float64)
    state = dict(run(rule, updates).state)
    watched = {"updates": updates, "w_t": w_t, "num_examples": examples, **state}
    copies = {name: tensor.clone() for name, tensor in watched.items()}
    run(rule, updates, w_t=w_t, examples=examples, state=state, round=2)
    for name, tensor in watched.items():
        require(torch.equal(copies[name], tensor), f"{name} was changed")


def _deterministic(rule: AggregationRule) -> None:
    n, before = max(9, rule.min_clients), torch.get_rng_state()
    first, second = run(rule, crowd(n)), run(rule, crowd(n))
    require(torch.equal(first.delta, second.delta), "the same seed gave another delta")
    require(torch.equal(first.weights, second.weights), "the same seed gave other weights")
    require(torch.equal(before, torch.get_rng_state()), "it drew from the global generator")


def _identical(rule: AggregationRule) -> None:
    n = max(10, rule.min_clients)
    one = torch.randn(D, generator=torch.Generator().manual_seed(1))
    result = run(rule, one.repeat(n, 1))
    require_valid(result, n)
    require(bool((result.weights > 0).all()), f"weights are {result.weights.tolist()}")
    torch.testing.assert_close(result.delta, one, rtol=1e-6, atol=1e-7)


def _still(rule: AggregationRule) -> None:
    n = max(8, rule.min_clients)
    result = run(rule, torch.zeros(n, D))
    require_valid(result, n)
    require(not bool(result.delta.any()), f"delta is up to {float(result.delta.abs().max())}")


def _finite(rule: AggregationRule) -> None:
    for n in _numbers(rule, (1, 2, 3, 10)):
        for size in (1e30, -1e30, 3e38):
            updates = crowd(n)
            updates[n // 2] = size
            require_valid(run(rule, updates), n)


def _bounded(rule: AggregationRule) -> None:
    n = max(10, rule.min_clients)
    updates = crowd(n)
    updates[4] = 1e30
    length = float(run(rule, updates).delta.norm())
    longest = float(torch.cat([updates[:4], updates[5:]]).norm(dim=1).max())
    require(length <= 2.0 * longest, f"delta has length {length}, the longest other update {longest}")


def _bare(rule: AggregationRule) -> None:
    n = max(9, rule.min_clients)
    updates = crowd(n)
    if rule.needs.root is not None:  # a bare call has none; no rule may fall back to a plain mean in silence
        try:
            rule(updates)
        except ValueError as error:
            require("root set" in str(error), f"without a root set it says: {error}")
            return
        raise AssertionError("it doesn't miss its root set")
    full = rule.aggregate(
        ClientUpdates(
            torch.zeros(D), updates, torch.ones(n, dtype=torch.float64), range(n), 1, torch.Generator().manual_seed(0)
        )
    )
    require(torch.equal(rule(updates).delta, full.delta), "rule(U) and rule.aggregate(...) differ")


def _restart(rule: AggregationRule) -> None:
    n = max(8, rule.min_clients)
    kept: dict[str, Tensor] = {}
    restored: dict[str, Tensor] = {}
    for t in range(1, 4):
        a, b = run(rule, crowd(n, t), state=kept, round=t), run(rule, crowd(n, t), state=restored, round=t)
        require(torch.equal(a.delta, b.delta), f"round {t} ends elsewhere after a restart")
        kept, restored = dict(a.state), load(save(dict(b.state)))
        require(kept.keys() == restored.keys(), f"kept {sorted(kept)}, restored {sorted(restored)}")
        for name in kept:
            require(torch.equal(kept[name], restored[name]), f"state {name} differs after a restart")


def agrees_with(
    rule: AggregationRule, reference: Reference, numbers: Sequence[int] = (1, 2, 3, 5, 8, 12, 20), seeds: int = 5
) -> None:
    """Raise AssertionError where a rule and its float64 reference differ by more than 1e-5 of the result's length."""
    for n in _numbers(rule, numbers):
        for seed in range(seeds):
            updates = crowd(n, seed)
            examples = torch.randint(1, 99, (n,), generator=torch.Generator().manual_seed(seed)).double()
            w_t = tiny_start(seed)
            expected = reference(w_t.double().numpy(), updates.double().numpy(), examples.numpy())
            got = run(rule, updates, examples=examples, w_t=w_t).delta.double().numpy()
            off, length = float(np.linalg.norm(got - expected)), float(np.linalg.norm(expected))
            require(off <= 1e-5 * length, f"{off} from its reference of length {length}, n = {n}, seed {seed}")


def _numbers(rule: AggregationRule, numbers: Sequence[int]) -> list[int]:
    return [n for n in numbers if n >= rule.min_clients] or [rule.min_clients]


RULE_PROMISES: Mapping[str, Promise[AggregationRule]] = {
    "a valid result for any number of clients": _few_clients,
    "inputs are left as they were": _inputs,
    "the order of clients is irrelevant": _order,
    "same seed, same result": _deterministic,
    "identical updates are all accepted and returned": _identical,
    "all-zero updates change nothing": _still,
    "one huge update gives a finite result": _finite,
    "a huge update is rejected or clipped": _bounded,
    "a bare call is a round around a zero model": _bare,
    "state survives a restart": _restart,
}
"""Promise -> its check. Valid: delta finite float32, weights non-negative that sum to 1 or are all zero."""
