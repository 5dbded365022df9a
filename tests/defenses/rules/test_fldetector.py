"""FLDetector: the L-BFGS prediction, histories by client, removal for good."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save

from defenses.base import Aggregate, ClientUpdates
from defenses.rules.fldetector import FLDetector, relative
from defenses.support.update_history import UpdateHistory, hessian_coefficients
from defenses.updates import ServerView
from fedcrucible_core.learning.vector import Slot

Array = NDArray[np.float64]
ATTACKERS = (0, 1, 2)


def bfgs(steps: list[Array], changes: list[Array], vector: Array) -> Array:
    """B v, with B made by one textbook BFGS update after the other from a multiple of the identity."""
    s, y = steps[-1], changes[-1]
    b = np.eye(len(s)) * (y @ s) / (s @ s)
    for s, y in zip(steps, changes, strict=True):
        bs = b @ s
        b = b - np.outer(bs, bs) / (s @ bs) + np.outer(y, y) / (y @ s)
    return b @ vector


def product(steps: Array, changes: Array, vector: Array) -> Array:
    rows = np.concatenate([steps, changes, vector[None]])
    inner = torch.from_numpy(rows @ rows.T)
    p = len(steps)
    direction = torch.zeros(1, len(rows), dtype=torch.float64)
    direction[0, -1] = 1.0
    found = hessian_coefficients(torch.arange(p), p + torch.arange(p), direction, inner)
    return np.asarray((found.numpy() @ rows)[0])


class TestLBFGS:
    @pytest.mark.parametrize("sign", [1.0, -1.0])
    @pytest.mark.parametrize("pairs", [1, 2, 5])
    def test_the_compact_form_is_the_chain_of_updates(self, pairs: int, sign: float) -> None:
        """Sign -1: updates point against gradients, so the matrix is negative; nothing else may change."""
        rng = np.random.default_rng(pairs)
        root = rng.normal(size=(8, 8))
        hessian = sign * (root @ root.T + np.eye(8))
        steps = rng.normal(size=(pairs, 8))
        changes, vector = steps @ hessian, rng.normal(size=8)
        expected = bfgs(list(steps), list(changes), vector)
        assert product(steps, changes, vector) == pytest.approx(expected, rel=1e-8)

    def test_the_last_pair_is_reproduced(self) -> None:
        rng = np.random.default_rng(0)
        hessian = np.diag(rng.uniform(1, 3, 6))
        steps = rng.normal(size=(3, 6))
        assert product(steps, steps @ hessian, steps[-1]) == pytest.approx(hessian @ steps[-1])

    def test_a_singular_window_gives_a_finite_product(self) -> None:
        """The same step twice: the middle matrix has no inverse."""
        step = np.array([[1.0, 2.0, 0.0]])
        found = product(np.repeat(step, 3, axis=0), np.repeat(2 * step, 3, axis=0), step[0])
        assert found == pytest.approx([2.0, 4.0, 0.0])

    def test_overflow_means_no_prediction(self) -> None:
        huge = np.full((1, 3), 1e200)
        with np.errstate(over="ignore"):
            assert product(huge, huge, huge[0]).tolist() == [0.0] * 3


Behaviour = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


class Federation:
    """Clients with quadratic losses of one curvature and different minima; some of them misbehave."""

    def __init__(self, clients: int, seed: int, misbehave: Behaviour | None = None, d: int = 60) -> None:
        g = self.g = torch.Generator().manual_seed(seed)
        self.curvature = 0.1 + 0.9 * torch.rand(d, generator=g)
        self.minima = torch.randn(d, generator=g) + 0.3 * torch.randn(clients, d, generator=g)
        self.model = torch.zeros(d)
        self.misbehave = misbehave

    def updates(self, ids: list[int]) -> torch.Tensor:
        rows = []
        for i in ids:
            noise = 0.01 * torch.randn(len(self.model), generator=self.g)
            update = -0.3 * self.curvature * (self.model - self.minima[i]) + noise
            bad = self.misbehave is not None and i in ATTACKERS
            rows.append(self.misbehave(update, self.g) if bad and self.misbehave is not None else update)
        return torch.stack(rows)

    def round(self, rule: FLDetector, ids: list[int], number: int, state: dict[str, torch.Tensor]) -> Aggregate:
        result = rule.aggregate(
            ClientUpdates(
                self.model,
                self.updates(ids),
                torch.ones(len(ids), dtype=torch.float64),
                ids,
                number,
                torch.Generator().manual_seed(number),
                state,
            )
        )
        self.model = torch.zeros_like(self.model) if result.restart else self.model + result.delta
        return result


def wobble(update: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    """Another direction every round, as a backdoor that the others keep washing out."""
    return update + 0.1 * torch.randn(update.shape, generator=g)


def play(federation: Federation, rule: FLDetector, ids: list[int], rounds: int) -> list[Aggregate]:
    results: list[Aggregate] = []
    for number in range(1, rounds + 1):
        results.append(federation.round(rule, ids, number, dict(results[-1].state) if results else {}))
    return results


def slow_errors(models: list[Array], updates: list[Array], means: list[Array], window: int) -> Array:
    """Prediction errors of the last round, every client in every round, from the formulas."""
    t = len(models) - 1
    steps = [models[k] - models[k - 1] for k in range(1, t)][-window:]
    changes = [means[k] - means[k - 1] for k in range(1, t)][-window:]
    shift = bfgs(steps, changes, models[t] - models[t - 1])
    return np.asarray(np.linalg.norm(updates[t - 1] + shift - updates[t], axis=1))


@pytest.mark.parametrize("window", [2, 10])
def test_scores_are_those_of_the_formulas(window: int) -> None:
    federation, ids = Federation(6, 3, d=20), list(range(6))
    rule = FLDetector(window=window, min_ratio=1e6)
    state: dict[str, torch.Tensor] = {}
    models, updates, means = [], [], []
    expected: list[Array] = []
    for number in range(1, 8):
        models.append(federation.model.double().numpy())
        rows = federation.updates(ids)
        updates.append(rows.double().numpy())
        result = rule.aggregate(
            ClientUpdates(
                federation.model, rows, torch.ones(6, dtype=torch.float64), ids, number,
                torch.Generator().manual_seed(0), state,
            )
        )  # fmt: skip
        means.append(result.delta.double().numpy())
        if number >= 3:
            errors = slow_errors(models, updates, means, window)
            expected.append(errors / errors.mean())
            scores = np.mean(expected[-window:], axis=0)
            assert result.per_client["score"] == pytest.approx(scores.tolist(), rel=2e-3)
        assert result.facts["pairs"] == max(0, min(number - 2, window))
        state = dict(result.state)
        federation.model = federation.model + result.delta


def test_the_score_is_an_error_over_the_mean_error() -> None:
    assert relative({4: 1.0, 7: 3.0}) == {4: 0.5, 7: 1.5}
    assert relative({1: 0.0, 2: 0.0}) == {1: 0.0, 2: 0.0}
    assert relative({}) == {}


@pytest.mark.parametrize("seed", range(3))
def test_planted_attackers_are_removed_and_stay_removed(seed: int) -> None:
    results = play(Federation(10, seed, wobble), FLDetector(), list(range(10)), 30)
    removal = next(t for t, r in enumerate(results, start=1) if r.facts["removed_now"])
    assert removal == 12
    assert results[removal - 1].state["removed"].tolist() == list(ATTACKERS)
    assert results[removal - 1].restart
    assert next(t for t, r in enumerate(results, start=1) if r.restart) == removal
    for result in results[removal - 1 :]:
        assert result.weights[:3].tolist() == [0.0] * 3
        assert set(ATTACKERS) <= set(result.state["removed"].tolist())
        assert min(result.per_client["score"][:3]) > 1.0


def test_after_a_removal_every_history_begins_anew() -> None:
    results = play(Federation(10, 0, wobble), FLDetector(), list(range(10)), 14)
    assert results[11].state["ids"].tolist() == []
    assert results[11].state["steps"].shape[0] == 0
    assert results[12].state["ids"].tolist() == list(range(3, 10))
    assert results[12].facts["pairs"] == 0


def test_the_model_can_be_kept() -> None:
    results = play(Federation(10, 0, wobble), FLDetector(restart="history"), list(range(10)), 13)
    assert not any(r.restart for r in results)
    assert results[11].facts["removed_now"] == 3
    assert results[11].weights.tolist() == [0.0] * 3 + [1 / 7] * 7


@pytest.mark.parametrize("seed", range(3))
def test_honest_clients_are_not_cut(seed: int) -> None:
    results = play(Federation(20, seed), FLDetector(), list(range(20)), 25)
    assert sum(r.facts["removed_now"] for r in results) == 0
    assert all(torch.equal(r.weights, torch.full((20,), 1 / 20, dtype=torch.float64)) for r in results)


def test_a_required_ratio_protects_small_crowds() -> None:
    """Ten honest clients: by itself the gap statistic finds clusters in some of these runs."""
    cut = dict.fromkeys((1.0, 1.3), 0.0)
    for ratio in cut:
        for seed in range(6):
            rule = FLDetector(min_ratio=ratio)
            cut[ratio] += sum(r.facts["removed_now"] for r in play(Federation(10, seed), rule, list(range(10)), 20))
    assert cut[1.0] > 0
    assert cut[1.3] == 0
    caught = play(Federation(10, 0, wobble), FLDetector(min_ratio=1.3), list(range(10)), 12)[-1]
    assert caught.state["removed"].tolist() == list(ATTACKERS)


def test_histories_are_by_client_under_sampling() -> None:
    """Half of the clients a round: predictions start from each one's own last update, and attackers are found."""
    federation, rule = Federation(20, 1, wobble), FLDetector(min_ratio=1.3)
    g, state = torch.Generator().manual_seed(9), dict[str, torch.Tensor]()
    for number in range(1, 70):
        ids = sorted(torch.randperm(20, generator=g)[:10].tolist())
        result = federation.round(rule, ids, number, state)
        state = dict(result.state)
        assert result.weights[[i in state["removed"].tolist() for i in ids]].sum() == 0
    assert state["removed"].tolist() == list(ATTACKERS)


def test_an_update_older_than_the_window_predicts_nothing() -> None:
    federation, rule = Federation(4, 0), FLDetector(window=2)
    state: dict[str, torch.Tensor] = {}
    for number, ids in enumerate([[0, 1, 2, 3], [0, 1, 2], [0, 1, 2], [0, 1, 2], [0, 1, 2, 3]], start=1):
        result = federation.round(rule, ids, number, state)
        state = dict(result.state)
    assert result.per_client["predicted"] == [1.0, 1.0, 1.0, 0.0]
    assert federation.round(rule, [0, 3], 6, state).per_client["predicted"] == [1.0, 1.0]


def test_positions_are_irrelevant() -> None:
    """Ids in another order every round give the same scores."""
    plain, mixed = Federation(6, 2), Federation(6, 2)
    states: list[dict[str, torch.Tensor]] = [{}, {}]
    for number in range(1, 8):
        ids = list(range(6))
        rows = plain.updates(ids)
        order = torch.randperm(6, generator=torch.Generator().manual_seed(number)).tolist()
        results = []
        for place, turn in enumerate((ids, order)):
            results.append(
                FLDetector().aggregate(
                    ClientUpdates(
                        plain.model, rows[turn], torch.ones(6, dtype=torch.float64), turn, number,
                        torch.Generator().manual_seed(0), states[place],
                    )
                )
            )  # fmt: skip
            states[place] = dict(results[-1].state)
        moved = dict(zip(order, results[1].per_client["score"], strict=True))
        assert [moved[i] for i in ids] == pytest.approx(results[0].per_client["score"], rel=1e-4)
        plain.model = plain.model + results[0].delta
    assert mixed.model.shape == plain.model.shape


def test_a_restart_in_the_middle_changes_nothing() -> None:
    straight = play(Federation(10, 5, wobble), FLDetector(), list(range(10)), 16)
    federation, state = Federation(10, 5, wobble), dict[str, torch.Tensor]()
    for number, expected in enumerate(straight, start=1):
        result = federation.round(FLDetector(), list(range(10)), number, load(save(state)))
        assert torch.equal(result.delta, expected.delta)
        assert result.state.keys() == expected.state.keys()
        assert all(torch.equal(result.state[name], expected.state[name]) for name in result.state)
        state = {name: tensor.contiguous() for name, tensor in result.state.items()}
    assert any(r.facts["removed_now"] for r in straight)


def test_the_classifiers_columns_are_enough_to_remember() -> None:
    slots = (
        Slot("features.0.weight", 0, torch.Size([50]), False),
        Slot("classifier.weight", 50, torch.Size([10]), False),
    )
    federation, rule = Federation(5, 0), FLDetector(evidence="classifier")
    state: dict[str, torch.Tensor] = {}
    for number in range(1, 5):
        result = rule.aggregate(
            ClientUpdates(
                federation.model, federation.updates(list(range(5))), torch.ones(5, dtype=torch.float64), range(5),
                number, torch.Generator().manual_seed(0), state, ServerView(slots=slots),
            )
        )  # fmt: skip
        state = dict(result.state)
        federation.model = federation.model + result.delta
    assert state["last"].shape == (5, 10)
    assert state["steps"].shape == (3, 10)
    assert result.delta.shape == (60,)
    assert result.per_client["predicted"] == [1.0] * 5


def test_huge_updates_leave_finite_states() -> None:
    rule, state = FLDetector(), dict[str, torch.Tensor]()
    for number, size in enumerate((3e38, -3e38, 1.0, 3e38), start=1):
        rows = torch.full((2, 5), size)
        result = rule.aggregate(
            ClientUpdates(
                torch.zeros(5), rows, torch.ones(2, dtype=torch.float64), [3, 8], number,
                torch.Generator().manual_seed(0), state,
            )
        )  # fmt: skip
        state = dict(result.state)
        assert all(bool(torch.isfinite(t).all()) for t in state.values())
        assert np.isfinite(result.per_client["score"]).all()


def test_memory_is_what_the_documentation_says() -> None:
    d, clients, window = 1000, 8, 3
    history = UpdateHistory.empty(window, d)
    for number in range(1, 9):
        rows = torch.ones(clients, d) * number
        history = history.after(number, rows[0], rows, list(range(clients)), torch.ones(clients), rows[0], {})
    floats = sum(t.numel() for t in history.state().values() if t.dtype == torch.float32)
    assert floats == (2 * window + 2 + clients) * d
