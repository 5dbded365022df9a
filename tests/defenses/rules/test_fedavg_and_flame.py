"""Worked numbers and traps of FedAvg and FLAME."""

from __future__ import annotations

import hdbscan
import numpy as np
import pytest
import torch

from defenses.base import Aggregate, ClientUpdates
from defenses.kernels.clipping import clip_factors
from defenses.kernels.geometry import cosine_distances, gram, median, weighted_sum
from defenses.rules.fedavg import FedAvg
from defenses.rules.flame import Flame
from fedcrucible_core.config import ConfigError


def flame(updates: torch.Tensor, w_t: torch.Tensor | None = None, seed: int = 0, **options: object) -> Aggregate:
    n, d = updates.shape
    rng = torch.Generator().manual_seed(seed)
    rule = Flame.model_validate(options)
    start = torch.zeros(d) if w_t is None else w_t
    return rule.aggregate(ClientUpdates(start, updates, torch.ones(n), range(n), 1, rng))


def accepted(result: Aggregate) -> list[bool]:
    return (result.weights > 0).tolist()


def test_fedavg_weights_by_examples() -> None:
    result = FedAvg()(torch.tensor([[0.0], [4.0]]), torch.tensor([1.0, 3.0]))
    assert result.delta.tolist() == [3.0]
    assert result.weights.tolist() == [0.25, 0.75]
    assert result.per_client == {"norm": [0.0, 4.0]}


def test_fedavg_may_count_every_client_the_same() -> None:
    matrix = torch.tensor([[0.0, 3.0], [6.0, 0.0]])
    assert FedAvg(weighted=False)(matrix, torch.tensor([1.0, 99.0])).delta.tolist() == [3.0, 1.5]


def test_fedavg_caps_a_claim() -> None:
    result = FedAvg(max_weight=0.5)(torch.tensor([[1.0], [0.0], [0.0]]), torch.tensor([1e6, 1.0, 1.0]))
    assert result.delta.tolist() == [0.5]


def test_fedavg_is_no_alias_of_a_client() -> None:
    updates = torch.ones(1, 5)
    delta = FedAvg()(updates).delta
    delta += 1
    assert updates.tolist() == [[1.0] * 5]


def test_fedavg_loses_no_digits_to_opposite_giants() -> None:
    """Summed in float32, the giants would swallow the honest update."""
    updates = torch.tensor([[1e10], [3.0], [-1e10]])
    assert FedAvg()(updates).delta.item() == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("cap", [0.0, 1.5])
def test_fedavg_refuses_a_cap_outside_its_range(cap: float) -> None:
    with pytest.raises(ValueError, match="max_weight"):
        FedAvg(max_weight=cap)


def test_clipped_mean_of_the_worked_example() -> None:
    updates = torch.tensor([[3.0, 4.0], [0.6, 0.8], [0.0, 1.0]])
    norms = updates.double().norm(dim=1)
    assert norms.tolist() == pytest.approx([5, 1, 1])
    assert median(norms) == pytest.approx(1.0)
    delta = weighted_sum(clip_factors(norms, median(norms)) / 3, updates)
    assert delta.tolist() == pytest.approx([0.4, 0.86667], abs=1e-5)


def test_the_clipping_bound_is_the_median_of_all_clients() -> None:
    """Accepted norms are 1, 2, 3 (their median: 2), all norms 1, 2, 3, 10, 20 (3): nothing accepted is clipped."""
    updates = torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [-10.0, 1.0], [1.0, -20.0]])
    result = flame(updates, cosine_on="updates", noise=0.0)
    assert accepted(result) == [True, True, True, False, False]
    assert result.facts["median_norm"] == 3.0
    assert result.per_client["clip"] == pytest.approx([1, 1, 1, 3 / 101**0.5, 3 / 401**0.5])
    assert result.delta.tolist() == pytest.approx([2.0, 0.0])


def test_clipping_can_be_turned_off() -> None:
    updates = torch.tensor([[1.0, 0.0], [1.0, 0.0], [7.0, 0.0]])
    assert flame(updates, noise=0.0, cosine_on="updates").delta.tolist() == [1.0, 0.0]
    assert flame(updates, noise=0.0, cosine_on="updates", clip=False).delta.tolist() == [3.0, 0.0]


@pytest.mark.parametrize("method", ["closed-form", "hdbscan"])
def test_cosine_distances_are_precomputed_not_features(method: str) -> None:
    """Directions 72, 135, 34, -56 and 90 degrees: the core is 34, 72, 90.

    Public code that feeds rows of the distance matrix to a Euclidean HDBSCAN takes 72, 90, 135 instead.
    """
    updates = torch.tensor([[1.0, 3.0], [-2.0, 2.0], [3.0, 2.0], [2.0, -3.0], [0.0, 3.0]])
    assert accepted(flame(updates, method=method)) == [True, False, True, False, True]
    rows = cosine_distances(gram(updates)).numpy()
    wrong = hdbscan.HDBSCAN(min_cluster_size=3, min_samples=1, allow_single_cluster=True).fit_predict(rows)
    assert np.flatnonzero(wrong == 0).tolist() == [0, 1, 4]


@pytest.mark.parametrize("method", ["closed-form", "hdbscan"])
@pytest.mark.parametrize("cosine_on", ["models", "updates"])
def test_near_identical_models_are_told_apart(method: str, cosine_on: str) -> None:
    """||w|| = 50 and updates of length 0.01: cosine distances near 1e-8, far below float32's resolution."""
    d = 4000
    g = torch.Generator().manual_seed(0)
    w_t = torch.randn(d, generator=g)
    w_t *= 50 / w_t.norm()
    directions = torch.randn(2, d, generator=g)
    which = torch.tensor([0, 1, 0, 0, 1, 0, 0, 1, 0, 1])
    updates = directions[which] + 0.2 * torch.randn(10, d, generator=g)
    updates *= 0.01 / updates.norm(dim=1, keepdim=True)
    assert accepted(flame(updates, w_t, method=method, cosine_on=cosine_on)) == (which == 0).tolist()

    models = w_t + updates
    unit = models / models.norm(dim=1, keepdim=True)
    in_float32 = 1 - unit @ unit.T
    true = cosine_distances(gram(updates, offset=w_t))
    assert float((in_float32 - true).abs().max()) > float(true.max())


def test_the_cosine_is_that_of_whole_models_by_default() -> None:
    """Updates that oppose each other make nearly parallel models, and the other way round."""
    w_t = torch.tensor([10.0, 0.0])
    updates = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.1, 2.0]])
    assert accepted(flame(updates, w_t)) == [True, True, False]
    assert accepted(flame(updates, w_t, cosine_on="updates")) == [True, False, True]


def test_noise_has_deviation_lambda_times_the_median_norm_on_every_parameter() -> None:
    updates = torch.zeros(5, 40_000)
    updates[:, 0] = torch.tensor([1.0, 2.0, 3.0, 4.0, 50.0])
    w_t = 9.0 * torch.randn(40_000, generator=torch.Generator().manual_seed(1))  # no parameter's own spread matters
    quiet, loud = flame(updates, w_t, noise=0.0).delta, flame(updates, w_t, noise=0.02).delta
    noise = (loud - quiet).double()
    assert float(noise.std()) == pytest.approx(0.02 * 3.0, rel=0.02)
    assert abs(float(noise.mean())) < 0.06 * 4 / 200
    assert bool((noise != 0).float().mean() > 0.999)
    assert not torch.equal(loud, flame(updates, w_t, noise=0.02, seed=1).delta)


def test_default_noise_is_a_thousandth() -> None:
    updates = torch.zeros(4, 20_000)
    updates[:, 0] = 5.0
    assert float(flame(updates).delta[1:].double().std()) == pytest.approx(0.005, rel=0.03)


def test_accepted_clients_weigh_alike_whatever_they_claim() -> None:
    result = Flame(noise=0.0)(torch.ones(4, 3), torch.tensor([1.0, 1.0, 1.0, 1e9]))
    assert result.weights.tolist() == [0.25] * 4


def test_everyone_is_accepted_when_the_clustering_calls_all_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("defenses.rules.flame.majority_cluster", lambda d, *_: torch.zeros(len(d), dtype=torch.bool))
    result = flame(torch.ones(5, 3), noise=0.0)
    assert accepted(result) == [True] * 5
    assert result.facts["all_noise"] == 1.0
    assert result.delta.tolist() == [1.0] * 3


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ValueError, match="cosine_on"):
        Flame.model_validate({"cosine_on": "gradients"})
    with pytest.raises(ValueError, match="lambda"):
        Flame.model_validate({"lambda": 0.1})


def test_a_round_below_a_rules_minimum_is_a_configuration_error() -> None:
    FedAvg().check(1, 0)
    with pytest.raises(ConfigError, match="at least 1"):
        FedAvg().check(0, 0)
