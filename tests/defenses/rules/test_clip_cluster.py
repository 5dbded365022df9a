"""ClippedClustering: historical norms, two clusters, ties; the tree agrees with scikit-learn's."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from defenses.base import Aggregate, ClientUpdates
from defenses.kernels.geometry import cosines, gram
from defenses.kernels.linkage import merge_tree
from defenses.rules.clip_cluster import ClipCluster, direction_distances, larger_cluster


def cluster(
    updates: torch.Tensor, state: Mapping[str, torch.Tensor] | None = None, ids: list[int] | None = None
) -> Aggregate:
    n, d = updates.shape
    return ClipCluster().aggregate(
        ClientUpdates(torch.zeros(d), updates, torch.ones(n), ids or range(n), 1, torch.Generator(), state or {})
    )


def accepted(result: Aggregate) -> list[bool]:
    return (result.weights > 0).tolist()


def opposed(seed: int = 0, honest: int = 6, bad: int = 2) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    common = torch.randn(40, generator=g)
    rows = common + 0.5 * torch.randn(honest + bad, 40, generator=g)
    rows[honest:] -= 2.0 * common
    return rows


def test_six_beat_two_that_oppose_them() -> None:
    for seed in range(20):
        assert accepted(cluster(opposed(seed))) == [True] * 6 + [False] * 2


def test_the_bound_is_the_median_of_all_norms_ever_seen() -> None:
    first = cluster(torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]))
    assert first.facts["bound"] == 2.0
    second = cluster(torch.tensor([[10.0, 0.0], [10.0, 0.0]]), first.state, [7, 8])  # others than in the first round
    assert second.state["norms"].tolist() == [1.0, 2.0, 3.0, 10.0, 10.0]
    assert second.facts["bound"] == 3.0
    assert second.delta.tolist() == pytest.approx([3.0, 0.0])
    assert second.per_client["clip"] == pytest.approx([0.3, 0.3])


def test_a_zero_update_is_as_far_as_can_be() -> None:
    distances = direction_distances(gram(torch.tensor([[1.0, 0.0], [0.0, 0.0], [2.0, 0.0], [0.0, 0.0]])))
    expected = [[0.0, 2.0, 0.0, 2.0], [2.0, 0.0, 2.0, 0.0], [0.0, 2.0, 0.0, 2.0], [2.0, 0.0, 2.0, 0.0]]
    assert distances.tolist() == expected
    updates = torch.cat([opposed(bad=0), torch.zeros(1, 40)])
    assert accepted(cluster(updates)) == [True] * 6 + [False]


def test_of_equally_large_clusters_the_closer_one_counts() -> None:
    tight, loose = [0.0, 0.02, 0.04], [3.0, 3.3, 3.6]
    angle = torch.tensor(tight + loose)
    updates = torch.stack([angle.cos(), angle.sin()], dim=1)
    assert accepted(cluster(updates)) == [True] * 3 + [False] * 3
    assert accepted(cluster(updates.flip(0))) == [False] * 3 + [True] * 3


def test_equally_large_and_equally_close_clusters_are_both_kept() -> None:
    updates = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    assert accepted(cluster(updates)) == [True] * 4


def test_ties_do_not_depend_on_the_order_of_clients() -> None:
    """Corners of a square and its centre line: many equal distances, so the library breaks ties by position."""
    angle = torch.arange(6) * torch.pi / 3
    updates = torch.stack([angle.cos(), angle.sin()], dim=1)
    ids = [3, 1, 4, 15, 9, 2]
    plain = dict(zip(ids, accepted(cluster(updates, ids=ids)), strict=True))
    for seed in range(20):
        order = torch.randperm(6, generator=torch.Generator().manual_seed(seed)).tolist()
        moved = cluster(updates[order], ids=[ids[i] for i in order])
        assert dict(zip([ids[i] for i in order], accepted(moved), strict=True)) == plain


def test_clusters_agree_with_scikit_learn() -> None:
    from sklearn.cluster import AgglomerativeClustering

    rejected = 0
    for seed in range(60):
        g = torch.Generator().manual_seed(seed)
        n = 5 + seed % 11
        inner = gram(torch.randn(n, 12, generator=g) + 0.7 * torch.randn(12, generator=g))
        distances = direction_distances(inner)
        theirs = AgglomerativeClustering(n_clusters=2, metric="precomputed", linkage="average").fit_predict(distances)
        ours = larger_cluster(distances, cosines(inner)).numpy()
        sizes = np.bincount(theirs)
        if sizes[0] != sizes[1]:
            assert np.array_equal(ours, theirs == sizes.argmax()), seed
            rejected += int((~ours).sum())
    assert rejected > 60


def test_ward_tree_has_the_heights_of_scipys_own_distances() -> None:
    from scipy.cluster.hierarchy import linkage

    points = torch.randn(12, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    tree = merge_tree(torch.cdist(points, points), "ward")
    assert tree.heights == pytest.approx(linkage(points.numpy(), "ward")[:, 2].tolist())
    assert tree.members(tree.root).all()
    left, right = (tree.members(child) for child in tree.children(tree.root))
    assert bool((left ^ right).all())
