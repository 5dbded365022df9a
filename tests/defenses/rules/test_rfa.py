"""RFA's Weiszfeld steps in the space of the Gram matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from defenses.rules.rfa import Rfa

LINE = torch.tensor([[0.0], [1.0], [10.0]])


def normal(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def geometric_median(points: np.ndarray, alpha: np.ndarray, steps: int = 20_000, nu: float = 1e-6) -> np.ndarray:
    """Weiszfeld in the full space until nothing moves."""
    z = alpha @ points
    for _ in range(steps):
        b = alpha / np.maximum(nu, np.linalg.norm(points - z, axis=1))
        moved = b @ points / b.sum()
        if np.linalg.norm(moved - z) <= 1e-14 * np.linalg.norm(points):
            break
        z = moved
    return np.asarray(z)


@pytest.mark.parametrize(("steps", "z"), [(1, 2.42539), (2, 1.62275), (3, 1.19565), (4, 1.03067)])
def test_steps_of_the_worked_example(steps: int, z: float) -> None:
    """From the weighted mean; public code that starts from zero gives other early iterates."""
    result = Rfa(iterations=steps)(LINE)
    assert result.delta.tolist() == pytest.approx([z], abs=1e-5)
    assert result.facts["steps"] == steps
    assert result.facts["objective"] == pytest.approx((z + abs(1 - z) + 10 - z) / 3, abs=1e-4)


def test_four_steps_by_default() -> None:
    assert Rfa()(LINE).delta.tolist() == pytest.approx([1.03067], abs=1e-5)


def test_it_ends_in_the_median_of_a_line() -> None:
    assert Rfa(iterations=0)(LINE).delta.tolist() == pytest.approx([1.0], abs=1e-5)


@pytest.mark.parametrize("seed", range(10))
def test_converged_it_is_the_geometric_median(seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    updates = normal(12, 30, seed) * 3.0 * torch.rand(12, 1, generator=g)
    examples = torch.randint(1, 50, (12,), generator=g).double()
    alpha = (examples / examples.sum()).numpy()
    exact = geometric_median(updates.double().numpy(), alpha)
    result = Rfa(iterations=0)(updates, examples)
    np.testing.assert_allclose(result.delta.numpy(), exact, atol=1e-6)
    lengths = np.linalg.norm(updates.double().numpy() - exact, axis=1)
    assert result.facts["objective"] == pytest.approx(float(alpha @ lengths), rel=1e-9)
    assert result.per_client["score"] == pytest.approx(lengths.tolist(), abs=1e-5)


def test_convergence_at_a_point_that_coincides_with_an_update() -> None:
    """There the distance is 0 and only nu keeps the weights finite."""
    updates = torch.tensor([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    result = Rfa(iterations=0)(updates)
    assert result.delta.tolist() == pytest.approx([0.0, 0.0], abs=1e-6)
    assert float(result.weights[0]) > 0.99


def test_weights_are_those_of_the_mean_that_is_returned() -> None:
    updates, examples = normal(7, 40), torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    result = Rfa()(updates, examples)
    torch.testing.assert_close(result.delta, (result.weights @ updates.double()).float())
    assert float(result.weights.sum()) == pytest.approx(1.0)


def test_a_minority_moves_it_little_and_a_claim_can_be_capped() -> None:
    updates = 0.1 * normal(9, 200)
    updates[7:] += 5.0
    assert float(Rfa(iterations=0)(updates).delta.norm()) < 1.0
    liar = torch.tensor([1.0] * 8 + [1e6])
    assert float(Rfa(iterations=0)(updates, liar).delta.norm()) > 50.0
    assert float(Rfa(iterations=0, max_weight=0.2)(updates, liar).delta.norm()) < 5.0


@pytest.mark.parametrize("size", [1e12, 1e30, 3e38])
def test_a_giant_gets_no_weight_and_costs_nobody_digits(size: float) -> None:
    """Four steps from a mean that holds it would leave a pull of size / 9^4 and more."""
    updates = normal(10, 50)
    updates[3] = size
    honest = [i for i in range(10) if i != 3]
    result, alone = Rfa()(updates), Rfa()(updates[honest])
    assert result.weights[3] == 0.0
    assert result.facts["giants"] == 1.0
    torch.testing.assert_close(result.delta, alone.delta)
    assert result.per_client["score"][3] > 1e12


def test_near_identical_large_updates_keep_their_digits() -> None:
    """A common part 1e5 times longer than the differences: from uncentred inner products all would seem equal."""
    common = 100.0 * normal(1, 2000, 5)[0]
    spread = torch.round(normal(9, 2000, 6) * 2**3) / 2**12  # survives the float32 sum
    shifted = torch.round(common * 2**12) / 2**12
    updates = shifted + spread
    expected = geometric_median((updates.double() - shifted.double()).numpy(), np.full(9, 1 / 9))
    got = Rfa(iterations=0)(updates)
    z = got.weights @ (updates.double() - shifted.double())
    np.testing.assert_allclose(z.numpy(), expected, atol=1e-8)


@pytest.mark.parametrize("field", [{"nu": 0.0}, {"iterations": -1}, {"max_weight": 0.0}])
def test_settings_outside_their_range_are_refused(field: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(field))):
        Rfa.model_validate(field)
