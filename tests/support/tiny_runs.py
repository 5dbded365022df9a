"""Federated runs of a second or two."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fedcrucible.engines.in_process import run_in_process
from fedcrucible_core.config.load import load
from fedcrucible_core.records.reader import read
from fedcrucible_core.records.schema import RoundRecord, RunSummary
from server_app.plan import Plan

Scalar = str | int | float | bool
TINY: Mapping[str, Scalar] = {
    "strategy": "fedavg",
    "run.rounds": 2,
    "federation.clients": 5,
    "task.train_samples": 200,
    "task.test_samples": 60,
    "partition.name": "iid",
    "model.name": "resnet8",
    "model.resnet8.width": 4,
    "training.local_epochs": 1,
    "adversary.malicious_fraction": 0.4,
    "synthetic.source": "mixed",
    "synthetic.per_class": 3,
    "output.report": False,
}


def settings(**changes: Scalar) -> dict[str, Scalar]:
    """TINY with changes; ``run__rounds=3`` means ``run.rounds``."""
    return {**TINY, **{key.replace("__", "."): value for key, value in changes.items()}}


def play(**changes: Scalar) -> tuple[RunSummary, list[RoundRecord]]:
    """Run in this process."""
    summary = run_in_process(Plan.make(load(settings(**changes))))
    return summary, list(read(Path(summary.folder)).rounds)
