"""DeepSight: worked numbers, and the traps of public code."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from defenses.base import Aggregate, ClientUpdates
from defenses.contracts.setting import INFO, SLOTS, D, tiny_model, tiny_start, tiny_view
from defenses.rules.deepsight import DeepSight, neup_evidence, update_energies
from defenses.updates import ServerView
from fedcrucible_core.learning.tasks import task_of
from fedcrucible_core.learning.vector import Slot, flatten_parameters, load_parameters

SLOT = {slot.name: slot for slot in SLOTS}
WEIGHT, BIAS = SLOT["classifier.weight"], SLOT["classifier.bias"]
CLASSES = BIAS.stop - BIAS.start


def seen(updates: torch.Tensor, server: ServerView | None = None, seed: int = 0) -> ClientUpdates:
    n = len(updates)
    view = tiny_view(tiny_start(), n) if server is None else server
    start = tiny_start() if server is None else torch.zeros(updates.shape[1])
    return ClientUpdates(
        start, updates, torch.ones(n, dtype=torch.float64), range(n), 1, torch.Generator().manual_seed(seed), {}, view
    )


def three_outputs(energies: list[list[float]]) -> ClientUpdates:
    """Updates of a classifier with three outputs and one input that have these energies, half of each in the bias."""
    half = torch.tensor(energies) / 2
    slots = (
        Slot("classifier.weight", 0, torch.Size([3, 1]), False),
        Slot("classifier.bias", 3, torch.Size([3]), False),
    )
    return seen(torch.cat([-half, half], dim=1), ServerView(slots=slots))


def planted(attackers: int = 3, honest: int = 7, seed: int = 0) -> torch.Tensor:
    """Honest clients move every output by random amounts, attackers all energy of theirs into output 2 alone."""
    g = torch.Generator().manual_seed(seed)
    common = 0.1 * torch.randn(D, generator=g)
    updates = common + 0.01 * torch.randn(attackers + honest, D, generator=g)
    updates[:attackers, WEIGHT.start :] *= 0.02
    rows = torch.arange(WEIGHT.start, WEIGHT.stop).view(CLASSES, -1)
    updates[:attackers, rows[2]] += 0.4
    updates[:attackers, BIAS.start + 2] += 0.4
    return updates


def accepted(result: Aggregate) -> list[int]:
    return (result.weights > 0).nonzero().flatten().tolist()


def test_worked_update_energies() -> None:
    """e = (3, 1, 1): NEUP .818, .091, .091, whose distance to (1, 0, 0) is .2227."""
    updates = three_outputs([[3.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    assert torch.cat(list(update_energies(updates))).tolist() == [[3.0, 1.0, 1.0], [1.0, 0.0, 0.0]]
    distances, _ = neup_evidence(updates, 0.01)
    neup = np.array([0.8182, 0.0909, 0.0909])
    assert float(distances[0, 1]) == pytest.approx(float(np.linalg.norm(neup - [1, 0, 0])), abs=1e-4)


def test_threshold_exceedings_count_outputs_above_a_share_of_the_largest() -> None:
    """max(0.01, 1/3) of the largest NEUP; the squares of 3, 2, 1 are 9, 4, 1: two exceed 3."""
    _, exceedings = neup_evidence(three_outputs([[3, 2, 1], [1, 1, 1], [1, 0, 0], [0, 0, 0]]), 0.01)
    assert exceedings.tolist() == [2, 3, 1, 0]
    _, strict = neup_evidence(three_outputs([[3, 2, 1]]), 0.9)
    assert strict.tolist() == [1]


def test_suspicious_is_half_the_median_or_less() -> None:
    energies = [[1.0, 1.0, 1.0]] * 3 + [[1.0, 1.0, 0.1], [1.0, 0.1, 0.1]]
    result = DeepSight().aggregate(three_outputs(energies))
    assert result.per_client["exceedings"] == [3, 3, 3, 2, 1]
    assert result.per_client["suspicious"] == [0, 0, 0, 0, 1]


def test_a_median_of_zero_makes_nobody_suspicious() -> None:
    result = DeepSight().aggregate(three_outputs([[0, 0, 0]] * 3 + [[1, 0, 0]]))
    assert result.per_client["suspicious"] == [0] * 4


@pytest.mark.parametrize("seed", range(4))
def test_the_benign_cluster_is_accepted_and_the_malicious_one_is_not(seed: int) -> None:
    """Public code has the share inverted and accepts the other one."""
    rule = DeepSight(noise_samples=200, noise_seeds=2)
    result = rule.aggregate(seen(planted(seed=seed), seed=seed))
    assert result.per_client["suspicious"] == [1] * 3 + [0] * 7
    assert accepted(result) == list(range(3, 10))
    assert result.per_client["score"] == [1.0] * 3 + [0.0] * 7


def test_a_cluster_goes_when_a_third_of_it_is_suspicious(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two clusters of three, one suspicious in one of them: 1/3 is not below 1/3. One of four would be."""
    energies = [[1, 1, 1]] * 5 + [[1, 0.1, 0.1]] + [[1, 1, 1]] * 2
    monkeypatch.setattr("defenses.rules.deepsight.density_clusters", lambda *_: torch.tensor([0, 0, 0, 1, 1, 1, 2, 2]))
    result = DeepSight().aggregate(three_outputs(energies))
    assert accepted(result) == [0, 1, 2, 6, 7]
    monkeypatch.setattr("defenses.rules.deepsight.density_clusters", lambda *_: torch.tensor([0, 0, 0, 1, 1, 1, 1, 0]))
    assert accepted(DeepSight().aggregate(three_outputs(energies))) == list(range(8))


def test_noise_points_are_no_cluster_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shared, the label -1 would be one cluster of four with one suspicious member, and accept it."""
    monkeypatch.setattr("defenses.rules.deepsight.density_clusters", lambda *_: torch.full((4,), -1))
    result = DeepSight().aggregate(three_outputs([[1, 1, 1]] * 3 + [[1, 0.1, 0.1]]))
    assert accepted(result) == [0, 1, 2]


def test_accepted_updates_are_clipped_to_the_median_norm_of_all() -> None:
    updates = planted()
    updates[9] *= 50
    result = DeepSight(noise_seeds=0).aggregate(seen(updates))
    norms = updates.double().norm(dim=1)
    bound = float(norms.median() if len(norms) % 2 else norms.sort().values[4:6].mean())
    kept = accepted(result)
    clipped = sum(updates[i].double() * min(1.0, bound / float(norms[i])) for i in kept) / len(kept)
    torch.testing.assert_close(result.delta.double(), clipped, rtol=1e-5, atol=1e-8)
    assert result.facts["median_norm"] == pytest.approx(bound)


def test_division_differences_are_ratios_of_probabilities() -> None:
    """Against a slow loop; with ratios of logits the sign of a logit would matter."""
    updates, w_t, shape = planted(), tiny_start(), INFO.shape
    rule = DeepSight(noise_samples=7, batch_size=3)
    view = tiny_view(w_t, len(updates))
    assert view.scratch is not None
    got = rule._ddifs(view.scratch, task_of(INFO), seen(updates), 5)
    g, model = torch.Generator().manual_seed(5), tiny_model()
    images = torch.cat([torch.rand(count, *shape, generator=g) for count in (3, 3, 1)])

    def probabilities(vector: torch.Tensor) -> np.ndarray:
        load_parameters(model, vector)
        with torch.no_grad():
            logits = torch.cat([model(image[None]) for image in images]).double().numpy()
        powers = np.exp(logits)
        return np.asarray(powers / powers.sum(1, keepdims=True))

    common = probabilities(w_t)
    for row, update in zip(got, updates, strict=True):
        expected = (probabilities(w_t + update) / common).mean(0)
        assert row.numpy() == pytest.approx(expected, rel=1e-4)
    assert torch.allclose(
        rule._ddifs(view.scratch, task_of(INFO), seen(torch.zeros(1, D)), 5), torch.ones(1, CLASSES).double()
    )


def test_the_servers_model_holds_w_t_afterwards() -> None:
    w_t = tiny_start()
    view = tiny_view(w_t, 10)
    assert view.scratch is not None
    buffers = {name: b.clone() for name, b in view.scratch.named_buffers()}
    rows = ClientUpdates(
        w_t, planted(), torch.ones(10, dtype=torch.float64), range(10), 1, torch.Generator().manual_seed(0), {}, view
    )
    result = DeepSight(noise_samples=20, noise_seeds=1).aggregate(rows)
    assert result.facts["ddif_seeds"] == 1
    assert torch.equal(flatten_parameters(view.scratch), w_t)
    assert all(torch.equal(b, buffers[name]) for name, b in view.scratch.named_buffers())


def test_predictions_that_are_not_finite_have_no_neighbours() -> None:
    updates = planted()
    updates[9] = 3e38
    result = DeepSight(noise_samples=20, noise_seeds=1).aggregate(seen(updates))
    assert bool(torch.isfinite(result.delta).all())
    assert float(result.delta.norm()) <= 2 * float(updates[:9].norm(dim=1).max())


def test_without_a_layout_every_column_is_an_output() -> None:
    bare = DeepSight()(torch.tensor([[3.0, 1.0, 1.0], [3.0, 1.0, 1.0], [-1.0, 0.0, 0.0]]))
    assert bare.facts["ddif_seeds"] == 0
    assert bare.per_client["exceedings"] == [1, 1, 1]
