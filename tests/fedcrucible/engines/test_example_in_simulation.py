"""The example app by `flwr run`, as it stands and with its patch: the models of the in-process engine."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fedcrucible.engines.flower.superlink import LocalSuperLink
from fedcrucible_core.config.values import Scalar
from studies.example_apps import ExampleApp

pytestmark = [pytest.mark.slow, pytest.mark.long]
CLIENTS = 5


@pytest.mark.parametrize(
    ("defence", "apart"),
    [
        ("", 2e-5),
        ('"krum"', 0.0),
        ('"flame", noise=0.0', 2e-5),
    ],  # sums are rounded by the order of replies; choices not
    ids=["as it stands", "krum", "flame"],
)
def test_the_app_ends_in_the_same_model_under_flwr_run(
    defence: str, apart: float, superlink: LocalSuperLink, tmp_path: Path
) -> None:
    stands = ExampleApp.named("flower-app")
    app = stands.defended(tmp_path, defence) if defence else stands.copied(tmp_path)
    here, there = tmp_path / "here.pt", tmp_path / "there.pt"
    settings: dict[str, Scalar] = {"num-server-rounds": 2, "examples-per-client": 40, "fraction-evaluate": 0.0}
    expected = app.run({**settings, "save-to": str(here)}, CLIENTS)
    found = app.simulate({**settings, "save-to": str(there)}, superlink, CLIENTS)
    one, other = torch.load(here, weights_only=True), torch.load(there, weights_only=True)
    assert max(float((one[key] - other[key]).abs().max()) for key in one) <= apart
    assert set(found) == set(expected)
