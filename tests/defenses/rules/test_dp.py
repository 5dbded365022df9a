"""Client-level differential privacy and its accounting."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from defenses.base import Aggregate, ClientUpdates
from defenses.kernels.privacy import epsilon
from defenses.rules.crfl import CRFL
from defenses.rules.dp import Dp
from defenses.rules.fedavg import FedAvg
from defenses.rules.flame import Flame
from defenses.rules.rfout import RfOut
from defenses.rules.weak_dp import WeakDp
from defenses.updates import ServerView, State
from fedcrucible_core.config import ConfigError
from tests.references import distance_references as slow


def normal(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def run(
    rule: Dp, updates: torch.Tensor, view: ServerView, state: dict[str, torch.Tensor] | None = None, seed: int = 0
) -> Aggregate:
    n, d = updates.shape
    rng = torch.Generator().manual_seed(seed)
    return rule.aggregate(
        ClientUpdates(torch.zeros(d), updates, torch.ones(n), range(n), 1, rng, state or {}, server=view)
    )


def closed_form(rounds: int, noise: float, delta: float) -> float:
    """Everyone takes part: rho = T / (2 z^2), epsilon = rho + 2 sqrt(rho ln(1/delta))."""
    rho = rounds / (2 * noise**2)
    return rho + 2 * math.sqrt(rho * math.log(1 / delta))


def test_epsilon_of_the_worked_example() -> None:
    """The closed form says 58.9; the accountant's conversion from Renyi divergence is a little tighter."""
    assert closed_form(50, 1.0, 1e-5) == pytest.approx(58.9, abs=0.05)
    assert epsilon(1.0, 1.0, 50, 1e-5) == pytest.approx(57.30, abs=0.05)


@pytest.mark.parametrize(("rounds", "noise"), [(1, 0.05), (1, 1.0), (10, 2.0), (200, 1.0), (50, 10.0), (10, 40.0)])
@pytest.mark.parametrize("delta", [1e-7, 1e-3])
def test_the_accountant_stays_below_the_closed_form(rounds: int, noise: float, delta: float) -> None:
    found, bound = epsilon(1.0, noise, rounds, delta), closed_form(rounds, noise, delta)
    assert 0.6 * bound < found <= bound * (1 + 1e-6)


def test_sampling_more_noise_and_fewer_rounds_cost_less() -> None:
    base = epsilon(0.1, 1.0, 50, 1e-5)
    assert base < 0.2 * epsilon(1.0, 1.0, 50, 1e-5)
    assert epsilon(0.1, 2.0, 50, 1e-5) < base
    assert epsilon(0.1, 1.0, 25, 1e-5) < base
    assert epsilon(0.1, 1.0, 50, 1e-3) < base


@pytest.mark.parametrize(("rate", "clients", "noise", "clip"), [(1.0, 10, 1.0, 3.0), (0.2, 50, 0.5, 2.0)])
def test_noise_in_the_result_has_deviation_z_s_over_q_n(rate: float, clients: int, noise: float, clip: float) -> None:
    """Undivided noise, or noise divided by the replies, would miss this."""
    updates = torch.zeros(7, 60_000)  # three replies are missing
    view = ServerView(clients=clients, sampled=round(rate * clients))
    result = run(Dp(noise=noise, clip=clip), updates, view)
    expected = noise * clip / (rate * clients)
    assert float(result.delta.double().std()) == pytest.approx(expected, rel=0.02)
    assert result.facts["deviation"] == pytest.approx(expected)
    assert result.facts["denominator"] == pytest.approx(rate * clients)


def test_agrees_with_a_loop_that_clips() -> None:
    updates = 2.0 * normal(8, 30)
    expected = slow.dp(np.zeros(30), updates.double().numpy(), np.ones(8), 4.0)
    result = Dp(clip=4.0, noise=0.0)(updates)
    np.testing.assert_allclose(result.delta.numpy(), expected, rtol=1e-5, atol=1e-7)


def test_the_denominator_is_fixed_whoever_replies() -> None:
    view = ServerView(clients=20, sampled=10)
    rule = Dp(noise=0.0, clip=1.0)
    ten, four = (run(rule, torch.ones(n, 1), view).delta.item() for n in (10, 4))
    assert ten == pytest.approx(1.0)
    assert four == pytest.approx(0.4)


def test_one_client_moves_the_sum_by_no_more_than_s() -> None:
    """The sensitivity that the noise is made for, whatever it sends and claims."""
    view = ServerView(clients=10, sampled=10)
    rule = Dp(noise=0.0, clip=2.0)
    rest = normal(9, 40)
    for size in (0.1, 5.0, 1e9, 3e38):
        extra = torch.full((1, 40), size)
        together = run(rule, torch.cat([rest, extra]), view).delta.double()
        moved = 10 * (together - run(rule, rest, view).delta.double())
        assert float(moved.norm()) <= 2.0 * (1 + 1e-5)
    heavy = torch.tensor([1.0] * 9 + [1e9])
    updates = normal(10, 40)
    assert torch.equal(rule(updates, heavy).delta, rule(updates).delta)


def test_epsilon_grows_with_every_round_and_survives_a_restart() -> None:
    view = ServerView(clients=100, sampled=10)
    state: State = {}
    restored: State = {}
    spent = []
    for seed in range(4):
        result = run(Dp(), normal(10, 20, seed), view, state, seed)
        again = run(Dp(), normal(10, 20, seed), view, restored, seed)
        assert torch.equal(result.delta, again.delta)
        assert result.facts == again.facts
        state, restored = dict(result.state), load(save(dict(result.state)))
        spent.append(result.facts["epsilon"])
    assert spent == sorted(set(spent))
    assert result.facts["delta"] == pytest.approx(100**-1.1)
    assert result.facts["sampling_rate"] == 0.1
    assert spent[3] == pytest.approx(epsilon(0.1, 1.0, 4, 100**-1.1))
    assert int(state["releases"]) == 4


@pytest.mark.parametrize(("clients", "sampled", "replies"), [(100, 50, 50), (100, 50, 30), (20, 0, 15)])
def test_a_stated_share_below_the_real_one_does_not_flatter_epsilon(clients: int, sampled: int, replies: int) -> None:
    result = run(Dp(sampling_rate=0.01), normal(replies, 10), ServerView(clients=clients, sampled=sampled))
    real = max(sampled, replies) / clients
    assert result.facts["epsilon"] == pytest.approx(epsilon(real, 1.0, 1, clients**-1.1))
    assert result.facts["sampling_rate"] == 0.01
    assert result.facts["denominator"] == pytest.approx(0.01 * clients)


def test_what_a_rule_promises_is_said_in_words() -> None:
    assert "one client" in Dp().privacy
    assert Dp(noise=0.0).privacy == "none: without noise epsilon is infinite"
    for rule in (WeakDp(), Flame(), CRFL(), RfOut(noise=0.1)):
        assert rule.privacy.startswith("none")
    assert FedAvg().privacy == RfOut().privacy == WeakDp(sigma=0.0).privacy == ""


def test_settings_by_hand_win() -> None:
    view = ServerView(clients=100, sampled=10)
    facts = run(Dp(sampling_rate=0.5, delta=1e-5), torch.ones(10, 3), view).facts
    assert facts["delta"] == 1e-5
    assert facts["denominator"] == 50.0
    assert facts["epsilon"] == pytest.approx(epsilon(0.5, 1.0, 1, 1e-5))


def test_a_bare_call_takes_its_updates_for_everyone() -> None:
    facts = Dp()(torch.ones(8, 3)).facts
    assert (facts["sampling_rate"], facts["denominator"]) == (1.0, 8.0)


def test_without_noise_there_is_no_claim() -> None:
    assert "epsilon" not in Dp(noise=0.0)(torch.ones(8, 3)).facts
    assert "epsilon" not in Dp()(torch.ones(1, 3)).facts  # 1/N^1.1 = 1 protects nobody


def test_a_missing_accountant_is_said_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    Dp().check(10, 0)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="Opacus"):
        Dp().check(10, 0)
    Dp(noise=0.0).check(10, 0)


def test_the_server_tells_how_many_it_samples() -> None:
    assert replace(ServerView(clients=20), sampled=5).sampled == 5
    assert ServerView().sampled == 0
