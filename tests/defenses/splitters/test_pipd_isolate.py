"""PIPD's isolation: scores by hand, a planted channel, models without convolutions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from defenses.splitters.pipd_isolate import PipdIsolate, isolation_scores, peak_activations
from fedcrucible_core.learning.models import MODELS
from tests.support.planted import INFO, pictures, planted_model, poisoned


def test_worked() -> None:
    """Channel 1 of three drives the poison preset beyond mean + 3 deviations of the clean one; it alone scores."""
    peaks = torch.tensor([[1.0, 9.0, 2.0], [1.0, 8.0, 2.0], [1.0, 1.0, 2.0], [2.0, 1.0, 3.0], [1.5, 1.0, 2.5]])
    scores = isolation_scores(peaks, torch.tensor([0]), torch.tensor([2, 3, 4]), 0.04)
    assert scores.tolist() == [9.0, 8.0, 1.0, 1.0, 1.0]
    assert isolation_scores(peaks, torch.tensor([0]), torch.tensor([2, 3, 4]), 1.0).tolist() == peaks.sum(1).tolist()


def test_it_isolates_what_drives_the_planted_channel() -> None:
    data, truth = poisoned(300)
    found = PipdIsolate().split(data, None, planted_model(), torch.Generator())
    caught = torch.zeros(300, dtype=torch.bool)
    caught[found.triggered] = True
    assert bool(caught[truth].all())
    assert int(caught[~truth].sum()) == 0
    assert len(found.mixed) == 0
    assert found.facts == {"flagged": 15.0}


def test_peaks_are_those_of_the_later_convolutions() -> None:
    model, x = MODELS.create("resnet8", {"width": 4}).build(INFO, 1).eval(), pictures(5).inputs
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    chosen = layers[len(layers) // 4 :]
    assert len(chosen) == len(layers) - 2
    assert peak_activations(model, x).shape == (5, sum(m.out_channels for m in chosen))


def test_a_model_without_convolutions_has_its_linear_layers() -> None:
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    with torch.no_grad():
        assert torch.equal(peak_activations(model, x), model[0](x))
        assert torch.equal(peak_activations(model[0], x), model[0](x))


def test_what_is_not_finite_counts_as_nothing() -> None:
    model = nn.Linear(2, 3)
    assert bool(torch.isfinite(peak_activations(model, torch.tensor([[torch.nan, 1.0], [torch.inf, 1.0]]))).all())


def test_without_a_model_it_says_so() -> None:
    with pytest.raises(ValueError, match="needs a freshly trained model"):
        PipdIsolate().split(pictures(8), None, None, torch.Generator())


def test_it_is_called_partial() -> None:
    assert (PipdIsolate.__doc__ or "").startswith("Partial:")
    assert PipdIsolate().needs.fresh is not None
    assert PipdIsolate().needs.fresh.count == 1
