"""Norm thresholding and weak differential privacy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from defenses.base import Aggregate, AggregationRule, ClientUpdates
from defenses.kernels.clipping import add_noise, clip_factors
from defenses.rules.norm_threshold import NormThreshold
from defenses.rules.weak_dp import WeakDp
from tests.references import distance_references as slow


def normal(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def run(
    rule: AggregationRule, norms: list[float], round: int = 1, state: dict[str, torch.Tensor] | None = None
) -> Aggregate:
    """Aggregate updates of these lengths."""
    n = len(norms)
    updates = torch.zeros(n, n)
    updates[range(n), range(n)] = torch.tensor(norms)
    return rule.aggregate(
        ClientUpdates(torch.zeros(n), updates, torch.ones(n), range(n), round, torch.Generator(), state or {})
    )


def test_agrees_with_a_loop_that_clips() -> None:
    updates, examples = 2.0 * normal(8, 30), torch.tensor([1.0, 5.0, 2.0, 9.0, 4.0, 4.0, 7.0, 3.0])
    expected = slow.norm_threshold(np.zeros(30), updates.double().numpy(), examples.double().numpy(), 4.0)
    for rule in (NormThreshold(bound=4.0), WeakDp(bound=4.0, sigma=0.0)):
        result = rule(updates, examples)
        np.testing.assert_allclose(result.delta.numpy(), expected, rtol=1e-5, atol=1e-7)
        assert result.facts["clipped"] == 8.0


@pytest.mark.parametrize("size", [1.0, 10.0, 1e8, 1e30, 3e38])
def test_the_result_is_never_longer_than_the_bound(size: float) -> None:
    updates = size * torch.ones(5, 40)
    delta = NormThreshold(bound=3.0)(updates, torch.tensor([1.0, 2.0, 3.0, 4.0, 1e9])).delta.double()
    assert float(delta.norm()) <= 3.0 * (1 + 1e-6)


def test_short_updates_pass_unchanged() -> None:
    updates = 0.01 * normal(6, 20)
    torch.testing.assert_close(NormThreshold()(updates).delta, updates.mean(0))


def test_an_inflated_claim_can_be_capped() -> None:
    updates, claims = torch.eye(4), torch.tensor([1e9, 1.0, 1.0, 1.0])
    assert NormThreshold()(updates, claims).delta[0] > 0.99
    assert NormThreshold(max_weight=0.25)(updates, claims).delta.tolist() == pytest.approx([0.25] * 4)


def test_the_bound_is_three_by_default_and_the_rounds_median_by_choice() -> None:
    norms = [1.0, 2.0, 3.0, 4.0, 100.0, 100.0]
    assert run(NormThreshold(), norms).facts == {"bound": 3.0, "clipped": 3.0}
    result = run(NormThreshold(threshold="round"), norms)
    assert result.facts == {"bound": 3.5, "clipped": 3.0}
    assert result.per_client["clip"] == pytest.approx([1, 1, 1, 3.5 / 4, 0.035, 0.035])
    assert result.state == {}


def test_the_median_of_history_counts_every_update_once() -> None:
    rule = NormThreshold(threshold="history")
    first = run(rule, [1.0, 2.0, 9.0])
    assert first.facts["bound"] == 2.0
    second = run(rule, [5.0, 6.0], 2, dict(first.state))
    assert second.facts["bound"] == 5.0  # of 1, 2, 5, 6, 9
    assert second.state["norms"].tolist() == [1.0, 2.0, 5.0, 6.0, 9.0]
    restored = run(rule, [5.0, 6.0], 2, load(save(dict(first.state))))
    assert torch.equal(restored.state["norms"], second.state["norms"])


def test_calibration_rounds_fix_the_bound() -> None:
    rule = NormThreshold(threshold="history", calibration_rounds=2)
    state = dict(run(rule, [1.0, 2.0, 3.0], 1).state)
    state = dict(run(rule, [4.0, 5.0, 6.0], 2, state).state)
    later = run(rule, [100.0, 200.0, 300.0], 3, state)
    assert later.facts == {"bound": 3.5, "clipped": 3.0}
    assert len(later.state["norms"]) == 6


def test_calibration_that_was_missed_takes_the_first_round_it_sees() -> None:
    """A run whose first rounds had too few replies."""
    result = run(NormThreshold(threshold="history", calibration_rounds=2), [1.0, 2.0, 3.0], 5)
    assert result.facts["bound"] == 2.0


def test_most_updates_zero_leave_a_bound_of_zero() -> None:
    result = run(NormThreshold(threshold="round"), [0.0, 0.0, 0.0, 7.0])
    assert result.facts["bound"] == 0.0
    assert not bool(result.delta.any())


def test_weak_noise_is_added_once_and_not_per_client() -> None:
    """Public code that adds it to every client's update ends with sigma / sqrt(n)."""
    updates = torch.zeros(25, 40_000)
    for sigma in (0.002, 0.025):
        delta = WeakDp(sigma=sigma)(updates).delta.double()
        assert float(delta.std()) == pytest.approx(sigma, rel=0.02)
        assert abs(float(delta.mean())) < 4 * sigma / 200
    assert WeakDp().sigma == 0.002


def test_weak_noise_is_that_of_the_rounds_generator() -> None:
    updates = torch.zeros(3, 50)

    def delta(seed: int) -> torch.Tensor:
        rng = torch.Generator().manual_seed(seed)
        return WeakDp().aggregate(ClientUpdates(torch.zeros(50), updates, torch.ones(3), range(3), 1, rng)).delta

    assert torch.equal(delta(1), delta(1))
    assert not torch.equal(delta(1), delta(2))


def test_weak_dp_claims_nothing() -> None:
    assert "epsilon" not in WeakDp()(torch.ones(4, 10)).facts


def test_clip_factors_survive_zero_and_giant_norms() -> None:
    factors = clip_factors(torch.tensor([0.0, 2.0, 4.0, 1e300], dtype=torch.float64), 2.0)
    assert factors.tolist() == [1.0, 1.0, 0.5, 2e-300]


def test_no_noise_draws_nothing() -> None:
    rng = torch.Generator().manual_seed(3)
    before = rng.get_state()
    vector = torch.ones(5)
    add_noise(vector, 0.0, rng)
    assert torch.equal(rng.get_state(), before)
    assert vector.tolist() == [1.0] * 5
