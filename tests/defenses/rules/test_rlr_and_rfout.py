"""Robust learning rate and RFOUT-1d."""

from __future__ import annotations

import pytest
import torch

from defenses.base import ClientUpdates
from defenses.rules.fedavg import FedAvg
from defenses.rules.rfout import RfOut
from defenses.rules.rlr import Rlr
from defenses.updates import ServerView
from fedcrucible_core.config import ConfigError

SIGNS = torch.tensor([[1.0, -1.0, 1.0], [1.0, -1.0, -1.0], [1.0, 1.0, -1.0], [1.0, 1.0, 1.0]])


def normal(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def assumed(rule: Rlr, n: int, attackers: int) -> dict[str, float]:
    view = ServerView(assumed_malicious=attackers)
    updates = ClientUpdates(torch.zeros(4), normal(n, 4), torch.ones(n), range(n), 1, torch.Generator(), server=view)
    return rule.aggregate(updates).facts


def test_agreement_of_the_worked_example() -> None:
    """Theta 3 of four clients: agreements are 4, 0, 0."""
    updates = SIGNS * torch.tensor([[1.0, 2.0, 3.0]]) + torch.tensor([[0.0, 0.5, 0.25]])
    assert updates.sign().sum(0).tolist() == [4.0, 0.0, 0.0]
    result = Rlr(share=0.75)(updates)
    assert result.facts["theta"] == 3.0
    assert result.delta.tolist() == pytest.approx([1.0, -0.5, -0.25])
    assert result.facts["flipped"] == pytest.approx(2 / 3)


def test_coordinates_that_nobody_changes_stay() -> None:
    updates = torch.zeros(5, 3)
    updates[:, 0] = 1.0
    result = Rlr()(updates)
    assert result.delta.tolist() == [1.0, 0.0, 0.0]
    assert result.facts["flipped"] == 0.0


def test_votes_are_counted_for_minus_against() -> None:
    """Theta 8 of 10 flips wherever fewer than nine agree."""
    for agreeing, kept in ((10, True), (9, True), (8, False), (5, False)):
        updates = torch.ones(10, 1)
        updates[agreeing:] = -0.5
        result = Rlr(share=0.8)(updates)
        mean = updates.mean().item()
        assert result.delta.item() == pytest.approx(mean if kept else -mean), agreeing


@pytest.mark.parametrize(("share", "n", "theta"), [(0.4, 10, 4), (0.55, 20, 11), (0.55, 21, 12), (1.0, 7, 7)])
def test_theta_as_a_share_is_rounded_up(share: float, n: int, theta: int) -> None:
    assert Rlr(share=share)(normal(n, 4)).facts == {"theta": theta, "flipped": pytest.approx(0.5, abs=0.5)}


@pytest.mark.parametrize(
    ("n", "attackers", "f"), [(10, 1, 1), (10, 3, 3), (10, 4, 3), (20, 6, 6), (20, 0, 0), (9, 9, 2)]
)
def test_automatic_theta_is_just_above_what_attackers_reach_alone(n: int, attackers: int, f: int) -> None:
    facts = assumed(Rlr(), n, attackers)
    assert facts["f"] == f
    assert facts["theta"] == f + 1
    assert f < facts["theta"] <= n - 2 * f


def test_attackers_alone_are_stepped_backwards() -> None:
    """Honest clients cancel out on coordinate 0; on coordinate 1 they agree and outvote the attackers."""
    updates = torch.tensor([[1.0, 1.0]] * 4 + [[-1.0, 1.0]] * 4 + [[6.0, -1.0]] * 2)
    result = Rlr(f=2)(updates)
    assert result.delta.tolist() == pytest.approx([-1.2, 0.6])
    assert result.per_client["score"] == [0.0] * 4 + [0.5] * 4 + [0.5] * 2


def test_too_many_attackers_for_any_theta() -> None:
    with pytest.raises(ValueError, match=r"f = 4 .* n = 10: 3f < n"):
        Rlr(f=4)(normal(10, 3))
    with pytest.raises(ConfigError, match="at most 3 with 10 clients"):
        Rlr(f=4).check(10, 0)


def test_length_is_not_judged() -> None:
    """Its documented weakness: one giant in a direction that the others share moves the model as far as it likes."""
    updates = torch.ones(10, 3)
    updates[0] = 1e20
    assert float(Rlr()(updates).delta[0]) == pytest.approx(1e19)


@pytest.mark.parametrize("n", [1, 2, 5, 9, 10])
def test_rfout_does_nothing_up_to_ten_clients(n: int) -> None:
    """Bit for bit the mean; at n = 10 a lone value is exactly 3 deviations away, where rounding must not decide."""
    for seed in range(20):
        updates = torch.zeros(n, 40)
        updates[0] = normal(1, 40, seed)[0] * 10 ** torch.linspace(-6, 6, 40)
        result = RfOut()(updates)
        assert torch.equal(result.delta, FedAvg()(updates).delta)
        assert result.facts == {"replaced": 0.0, "can_fire": 0.0}
    updates = normal(n, 50)
    updates[0] *= 1e6
    assert torch.equal(RfOut()(updates).delta, FedAvg()(updates).delta)


def test_rfout_fires_on_a_lone_outlier_of_eleven() -> None:
    updates = torch.zeros(11, 1)
    updates[4] = 1.0  # mean 1/11, sqrt(10) = 3.162 deviations away
    result = RfOut()(updates)
    assert result.facts["can_fire"] == 1.0
    assert result.per_client["score"] == [0.0] * 4 + [1.0] + [0.0] * 6
    assert result.delta.item() == pytest.approx(1 / 121)
    assert result.facts["replaced"] == pytest.approx(1 / 11)


def test_rfout_damps_a_giant_by_n_and_no_more() -> None:
    updates = normal(11, 30)
    updates[2] = 1e20
    assert float(RfOut()(updates).delta[0]) == pytest.approx(1e20 / 121, rel=1e-6)


def test_two_who_agree_hide_each_other() -> None:
    updates = torch.zeros(11, 1)
    updates[:2] = 1.0
    assert RfOut()(updates).facts["replaced"] == 0.0


def test_fewer_deviations_fire_earlier() -> None:
    updates = torch.zeros(4, 1)
    updates[0] = 1.0  # sqrt(3) deviations away
    assert RfOut(deviations=1.7)(updates).facts == {"replaced": 0.25, "can_fire": 1.0}
    assert RfOut(deviations=1.8)(updates).facts == {"replaced": 0.0, "can_fire": 0.0}


def test_identical_values_are_no_outliers_whatever_rounding_does() -> None:
    updates = torch.full((13, 50), 0.1) * torch.arange(1.0, 51.0)
    result = RfOut()(updates)
    assert result.facts["replaced"] == 0.0
    torch.testing.assert_close(result.delta, updates[0])


@pytest.mark.parametrize("n", [5, 12])
def test_rfout_can_clip_first_and_add_noise_after(n: int) -> None:
    updates = torch.zeros(n, 50_000)
    updates[0, 0] = 1e6
    clipped = RfOut(clip=2.0)(updates)
    assert float(clipped.delta[0]) == pytest.approx(2.0 / (n if n < 11 else n * n))
    noise = RfOut(clip=2.0, noise=0.01)(updates).delta - clipped.delta
    assert float(noise.double().std()) == pytest.approx(0.01, rel=0.03)
