"""FLPurifier, the server's side: plain mean of extractors, similarity-weighted classifiers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from defenses.base import ClientUpdates
from defenses.rules.flpurifier import FLPurifier, median_cosines
from defenses.updates import ServerView
from fedcrucible_core.learning.contrastive import ContrastiveTraining
from fedcrucible_core.learning.vector import Slot

SLOTS = (
    Slot("features.0.weight", 0, torch.Size([2]), False),
    Slot("classifier.weight", 2, torch.Size([1, 2]), False),
    Slot("classifier.bias", 4, torch.Size([1]), False),
)


def seen(updates: torch.Tensor, w_t: torch.Tensor | None = None) -> ClientUpdates:
    n = len(updates)
    start = torch.zeros(updates.shape[1]) if w_t is None else w_t
    return ClientUpdates(
        start, updates, torch.arange(1, n + 1).double(), range(n), 1, torch.Generator(), {}, ServerView(slots=SLOTS)
    )


def test_worked_weights() -> None:
    """Classifiers (1,0,0), (1,0,0), (-1,0,0): median (1,0,0), cosines 1, 1, -1, shares e : e : 1/e."""
    updates = torch.tensor([[3.0, 0, 1, 0, 0], [0, 3, 1, 0, 0], [0, 0, -1, 0, 0]])
    result = FLPurifier().aggregate(seen(updates))
    shares = np.array([np.e, np.e, 1 / np.e])
    shares /= shares.sum()
    assert result.per_client["classifier_weight"] == pytest.approx(shares.tolist())
    assert result.per_client["score"] == pytest.approx([0, 0, 2])
    assert result.delta.tolist() == pytest.approx([1, 1, shares[0] + shares[1] - shares[2], 0, 0])
    assert result.weights.tolist() == pytest.approx([1 / 3] * 3), "extractors weigh alike, whatever clients claim"


def test_whole_classifiers_are_compared_by_default() -> None:
    """Opposite updates of a long classifier: nearly equal classifiers, hence nearly equal weights."""
    w_t = torch.tensor([0.0, 0, 100, 0, 0])
    updates = torch.tensor([[0.0, 0, 1, 0, 0], [0, 0, 1, 0, 0], [0, 0, -1, 0, 0]])
    assert FLPurifier().aggregate(seen(updates, w_t)).per_client["classifier_weight"] == pytest.approx([1 / 3] * 3)
    moved = FLPurifier(cosine_on="updates").aggregate(seen(updates, w_t)).per_client["classifier_weight"]
    assert moved[2] < 0.1


def test_a_small_temperature_is_sharp() -> None:
    updates = torch.tensor([[0.0, 0, 1, 0, 0], [0, 0, 1, 0, 0], [0, 0, -1, 0, 0]])
    assert FLPurifier(temperature=0.05).aggregate(seen(updates)).per_client["classifier_weight"][2] < 1e-15


def test_the_median_of_an_even_number_is_the_mean_of_the_middle_two() -> None:
    rows = torch.tensor([[0.0, 1.0], [2.0, 1.0], [4.0, -1.0], [9.0, 1.0]])
    middle = np.array([3.0, 1.0])
    expected = [r @ middle / np.linalg.norm(r) / np.linalg.norm(middle) for r in rows.double().numpy()]
    assert median_cosines(rows, torch.zeros(2)).tolist() == pytest.approx(expected)


def test_cosines_across_blocks_of_columns() -> None:
    g = torch.Generator().manual_seed(0)
    rows, offset = torch.randn(5, 70_000, generator=g), torch.randn(70_000, generator=g)
    models = (rows.double() + offset.double()).numpy()
    middle = np.median(models, axis=0)
    expected = models @ middle / np.linalg.norm(models, axis=1) / np.linalg.norm(middle)
    assert median_cosines(rows, offset).tolist() == pytest.approx(expected.tolist(), rel=1e-9)


def test_zero_classifiers() -> None:
    assert median_cosines(torch.zeros(3, 4), torch.zeros(4)).tolist() == [1.0] * 3
    some = median_cosines(torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]]), torch.zeros(2))
    assert some.tolist() == [0.0, 1.0, 1.0]


def test_without_a_layout_all_of_it_is_classifier() -> None:
    result = FLPurifier(temperature=0.01)(torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]))
    assert result.delta.tolist() == pytest.approx([1.0, 0.0])


def test_honest_clients_train_by_contrast() -> None:
    assert FLPurifier().needs.training == ContrastiveTraining(0.07, 128, 1)
