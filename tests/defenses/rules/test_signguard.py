"""SignGuard and SignGuard-Sim: worked features, norm band, block, fall-backs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from defenses.base import Aggregate, ClientUpdates
from defenses.rules.signguard import SignGuard, by_column_maximum, largest_cluster, sign_fractions
from defenses.rules.signguard_sim import SignGuardSim, similarity_feature

ROWS = torch.tensor([[1.0, 1.0, -1.0, 0.0], [1.0, 1.0, -1.0, -1.0], [-1.0, -1.0, 1.0, 1.0]])


def guard(
    updates: torch.Tensor, seed: int = 0, state: Mapping[str, torch.Tensor] | None = None, round: int = 1,
    *, sim: bool = False, **options: object,
) -> Aggregate:  # fmt: skip
    n, d = updates.shape
    rule = (SignGuardSim if sim else SignGuard).model_validate(options)
    rng = torch.Generator().manual_seed(seed)
    return rule.aggregate(ClientUpdates(torch.zeros(d), updates, torch.ones(n), range(n), round, rng, state or {}))


def accepted(result: Aggregate) -> list[bool]:
    return (result.weights > 0).tolist()


def honest(n: int, seed: int, d: int = 2000, agree: bool = False) -> torch.Tensor:
    """Two thirds of the coordinates are positive: the same ones for all who ``agree``."""
    g = torch.Generator().manual_seed(seed)
    rows = torch.randn(n, d, generator=g).abs()
    return torch.where(torch.rand(1 if agree else n, d, generator=g) < 2 / 3, rows, -rows)


def test_the_worked_features() -> None:
    fractions = sign_fractions(ROWS)
    assert fractions.T.tolist() == [[0.5, 0.5, 0.5], [0.25, 0.0, 0.0], [0.25, 0.5, 0.5]]
    assert by_column_maximum(fractions).T.tolist() == [[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.5, 1.0, 1.0]]


def test_a_column_of_zeros_stays_zero() -> None:
    assert by_column_maximum(torch.tensor([[0.0, 2.0], [0.0, 4.0]])).tolist() == [[0.0, 0.5], [0.0, 1.0]]


def test_flipped_signs_are_rejected() -> None:
    for seed in range(10):
        updates = honest(12, seed)
        updates[9:] *= -1
        assert accepted(guard(updates, seed)) == [True] * 9 + [False] * 3


def test_it_is_blind_to_attacks_that_keep_the_signs() -> None:
    updates = honest(12, 1, agree=True)
    kept = updates.clone()
    kept[9:] *= torch.rand(3, 2000, generator=torch.Generator().manual_seed(5)) + 0.5
    assert accepted(guard(kept)) == [True] * 12


def test_the_norm_band_comes_before_clipping() -> None:
    """Clipped first, as in public code, the long ones would all be of median length and pass."""
    updates = honest(9, 2, agree=True)
    updates[0] *= 4.0
    updates[1] *= 0.05
    updates[2] *= 2.5
    result = guard(updates)
    assert accepted(result) == [False, False] + [True] * 7
    assert min(result.per_client["score"][:2]) >= 2.0 > max(result.per_client["score"][2:])
    assert result.per_client["clip"][2] == pytest.approx(0.4, rel=0.1)
    assert float(result.delta.norm()) <= result.facts["median_norm"]


def test_the_median_is_that_of_all_clients() -> None:
    updates = torch.ones(5, 10) * torch.tensor([[1.0], [1.0], [2.0], [2.5], [90.0]])
    result = guard(updates)
    assert result.facts["median_norm"] == pytest.approx(2.0 * 10**0.5)
    assert result.delta.tolist() == pytest.approx([(1 + 1 + 2 + 2) / 4] * 10)


def test_signs_are_counted_in_one_block_of_a_tenth() -> None:
    updates = honest(10, 3, agree=True)
    offsets = set()
    for seed in range(8):
        offset = int(guard(updates, seed).facts["offset"])
        assert 0 <= offset <= 1800
        offsets.add(offset)
        elsewhere = updates.clone()
        elsewhere[7:, :offset] *= -1
        elsewhere[7:, offset + 200 :] *= -1
        assert accepted(guard(elsewhere, seed)) == [True] * 10  # flipped everywhere but in the block
        within = updates.clone()
        within[7:, offset : offset + 200] *= -1
        assert accepted(guard(within, seed)) == [True] * 7 + [False] * 3
    assert len(offsets) > 5


def test_the_block_may_be_the_whole_vector() -> None:
    assert guard(honest(6, 0), share=1.0).facts["offset"] == 0.0
    assert guard(torch.ones(3, 4)).facts["offset"] <= 3.0


def test_nobody_in_both_sets_leaves_the_norm_band_alone_to_decide() -> None:
    """Two clients with different signs are both noise to DBSCAN."""
    result = guard(torch.tensor([[1.0, 1.0], [-1.0, -1.0]]), share=1.0)
    assert result.facts["in_cluster"] == 0.0
    assert accepted(result) == [True, True]
    updates = torch.ones(7, 20)
    updates[:4] *= -torch.tensor([[1e-3], [1e-3], [1e3], [1e3]])  # the larger sign cluster lies outside the band
    result = guard(updates)
    assert result.facts["in_cluster"] == 4.0
    assert accepted(result) == [False] * 4 + [True] * 3


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_few_clients_with_bandwidth_zero_are_clustered_all_the_same(n: int) -> None:
    updates = torch.ones(n, 30)
    assert accepted(guard(updates)) == [True] * n
    if n >= 3:
        updates[0] *= -1
        assert accepted(guard(updates)) == [False] + [True] * (n - 1)


def test_more_than_two_clusters() -> None:
    updates = torch.cat([honest(8, 0), -honest(3, 1), honest(2, 2).abs()])
    assert accepted(guard(updates)) == [True] * 8 + [False] * 5


def test_dbscan_is_an_alternative() -> None:
    points = torch.tensor([[0.0, 0.0], [0.04, 0.0], [0.08, 0.0], [1.0, 0.0], [1.01, 0.0], [3.0, 0.0]]).double()
    assert largest_cluster(points, "dbscan").tolist() == [True, True, True, False, False, False]
    assert not bool(largest_cluster(torch.eye(3).double(), "dbscan").any())


def test_points_far_from_every_centre_belong_to_none() -> None:
    points = torch.tensor([[0.0], [0.01], [0.02], [0.03], [0.04], [0.05], [9.0]]).double()
    assert largest_cluster(points, "mean-shift").tolist() == [True] * 6 + [False]


def test_no_global_generator_is_used() -> None:
    """Bandwidth estimation on a random sample, as in public code, would draw from numpy's."""
    before = np.random.get_state(legacy=False)["state"]["key"].copy()
    guard(honest(60, 4))
    assert np.array_equal(before, np.random.get_state(legacy=False)["state"]["key"])


def test_the_similarity_feature() -> None:
    cosine = torch.tensor([0.8, -0.3, 0.2, 0.4, 0.1]).double()
    assert similarity_feature(cosine).tolist() == pytest.approx([0.2, 0.0, 0.2, 0.2, 0.1])
    assert similarity_feature(-cosine).tolist() == [0.0] * 5


def test_sim_compares_with_the_last_aggregate_after_the_warm_up() -> None:
    """Attackers permute the coordinates: signs keep their shares, the direction is lost."""
    g = torch.Generator().manual_seed(0)
    common = honest(1, 9, 4000)[0]
    updates = common + 0.6 * torch.randn(10, 4000, generator=g)
    moved = updates.clone()
    moved[7:] = updates[7:, torch.randperm(4000, generator=g)]
    options = {"share": 1.0, "clustering": "dbscan"}
    assert accepted(guard(moved, **options)) == [True] * 10
    first = guard(moved, sim=True, **options)
    assert accepted(first) == [True] * 7 + [False] * 3
    state = {"last": -common}
    warm = guard(moved, state=state, round=3, sim=True, **options)
    assert accepted(warm) == [True] * 7 + [False] * 3  # still among the clients
    state = {"last": updates[7:].mean(0)[torch.randperm(4000, generator=g)] * 0 + moved[8]}
    late = guard(moved, state=state, round=4, sim=True, warm_up=3, **options)
    assert torch.equal(late.state["last"], late.delta)
    assert late.per_client["score"] != warm.per_client["score"]


def test_sim_remembers_the_aggregate() -> None:
    result = guard(honest(6, 0), sim=True)
    assert torch.equal(result.state["last"], result.delta)
    assert guard(honest(6, 0)).state == {}
    assert accepted(guard(honest(1, 0), sim=True)) == [True]
