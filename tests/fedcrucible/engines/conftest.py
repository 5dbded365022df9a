"""Engines are shared by the tests of a module: starting one takes many seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedcrucible.engines.flower.superlink import LocalSuperLink
from fedcrucible_core.config.values import Scalar

Settings = dict[str, Scalar]


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of run records."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def settings(records: Path) -> Settings:
    """A run of a few seconds: four clients, one of them malicious, two rounds."""
    return {
        "strategy": "fedavg",
        "run.rounds": 2,
        "run.device": "cpu",
        "task.train_samples": 400,
        "task.test_samples": 200,
        "model.name": "resnet8",
        "model.resnet8.width": 8,
        "federation.clients": 4,
        "attack.name": "badnets",
        "adversary.malicious_ids": "1",
        "output.dir": str(records),
        "output.report": False,
        "output.save_model": False,
    }


@pytest.fixture(scope="module")
def superlink() -> Iterator[LocalSuperLink]:
    """A SuperLink for simulations."""
    with LocalSuperLink() as running:
        yield running
