"""Mode connectivity: the curve's ends, its points, batch norm on it."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import nn

from defenses.kernels.bezier import straight_points
from defenses.repairs.mcr import ModeConnectivityRepair, remeasure
from defenses.support.fitting import FitOptions, fit, held_out
from fedcrucible_core.learning.vector import flatten_parameters
from tests.support.planted import NORM, accuracy, context, pictures, planted_model, same_parameters

QUICK = {"end_epochs": 1, "epochs": 1, "batch_size": 20}


def test_at_the_start_of_the_curve_the_model_is_what_it_was() -> None:
    model = planted_model()
    ModeConnectivityRepair.model_validate({**QUICK, "t": 0.0}).repair(model, context(clean=pictures(40)))
    assert same_parameters(model, planted_model())


def test_at_its_end_it_is_the_fine_tuned_copy() -> None:
    model, end, rng = planted_model(), planted_model(), torch.Generator().manual_seed(3)
    quick = ModeConnectivityRepair.model_validate({**QUICK, "t": 1.0, "epochs": 0})
    quick.repair(model, context(clean=pictures(40), seed=3))
    trained, _ = held_out(pictures(40), quick.held_share, rng)
    fit(end, trained, FitOptions(quick.end_lr, weight_decay=5e-4, batch_size=20), rng, epochs=1)
    assert torch.allclose(flatten_parameters(model), flatten_parameters(end), atol=1e-6)
    assert not torch.allclose(flatten_parameters(model), flatten_parameters(planted_model()))


@pytest.mark.parametrize("bends", [3, 4, 6])
def test_every_point_between_the_ends_learns_by_itself(bends: int) -> None:
    """Beyond three bends the points of public code are one model under several names."""
    model, data = planted_model(), pictures(40)
    start = flatten_parameters(model)
    points = straight_points(start, start + 0.1, bends)
    before = points.clone()
    ModeConnectivityRepair(bends=bends, epochs=2, batch_size=10).train(
        model, points, data, torch.Generator().manual_seed(0)
    )
    assert torch.equal(points[0], before[0])
    assert torch.equal(points[-1], before[-1])
    moved = points[1:-1] - before[1:-1]
    assert bool((moved.abs().sum(1) > 0).all())
    for i in range(len(moved)):
        assert all(not torch.allclose(moved[i], moved[j]) for j in range(i))
    assert same_parameters(model, planted_model()), "the model itself is not trained"


def test_statistics_are_measured_anew() -> None:
    model, x = planted_model(), pictures(40).inputs
    norm = cast(nn.BatchNorm2d, model.get_submodule(NORM))
    norm.running_mean.add_(5.0)
    remeasure(model, x, 40)
    with torch.no_grad():
        seen = model.get_submodule("features.0")(x)
    assert torch.allclose(norm.running_mean, seen.mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(norm.running_var, seen.var((0, 2, 3)), atol=1e-5)
    assert norm.momentum == 0.1
    assert not model.training


def test_it_keeps_what_clean_pictures_need() -> None:
    model = planted_model()
    facts = ModeConnectivityRepair(end_epochs=3, epochs=3, batch_size=16).repair(model, context(clean=pictures(80)))
    assert accuracy(model, pictures(100, seed=9)) > 90.0
    assert facts["curve_loss"] > 0.0
