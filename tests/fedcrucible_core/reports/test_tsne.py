from __future__ import annotations

import numpy as np
import pytest

from fedcrucible_core.reports import tsne_panel
from fedcrucible_core.reports.charts.tsne import triggered_silhouette


def clusters(apart: bool, count: int = 240) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 4
    marks = (rng.random(count) < 0.15) & (labels != 0)
    centres = rng.normal(0, 8, (5, 20))
    where = np.where(marks & apart, 4, labels)
    return centres[where] + rng.normal(0, 1, (count, 20)), labels, marks


def test_silhouette_tells_an_own_cluster_from_rejoined_classes() -> None:
    own, rejoined = (tsne_panel(*clusters(apart), seed=1).silhouette for apart in (True, False))
    assert own is not None
    assert rejoined is not None
    assert own > 0.5
    assert rejoined < 0.0


def test_silhouette_of_a_worked_example() -> None:
    features = np.array([[0.0], [1.0], [10.0], [12.0]])
    labels, marks = np.array([1, 1, 1, 1]), np.array([False, False, True, True])
    # a = 2 for both; b = 9.5 and 11.5
    assert triggered_silhouette(features, labels, marks) == pytest.approx((7.5 / 9.5 + 9.5 / 11.5) / 2)
    assert triggered_silhouette(features, labels, np.zeros(4, bool)) is None
    assert triggered_silhouette(features, np.array([1, 1, 2, 2]), marks) is None


def test_panel_is_reproducible_and_thinned_to_size() -> None:
    features, labels, marks = clusters(True, 400)
    first, second = (tsne_panel(features, labels, marks, seed=3, size=120) for _ in range(2))
    assert first.points.shape == (120, 2)
    assert np.array_equal(first.points, second.points)
    assert abs(int(first.triggered.sum()) - round(120 * marks.mean())) <= 1


def test_panel_refuses_what_it_cannot_embed() -> None:
    with pytest.raises(ValueError, match="at least 10"):
        tsne_panel(np.zeros((4, 3)), np.zeros(4), np.zeros(4), seed=1)
    with pytest.raises(ValueError, match="NaN"):
        tsne_panel(np.full((20, 3), np.nan), np.zeros(20), np.zeros(20), seed=1)


def test_equal_features_still_make_a_panel() -> None:
    panel = tsne_panel(np.ones((20, 3)), np.zeros(20), np.zeros(20), seed=1)
    assert np.isfinite(panel.points).all()
