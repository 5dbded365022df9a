"""What a run's description tells the reader of its data and of its rule's promises."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from fedcrucible.engines.in_process import run_in_process
from fedcrucible_core.config.load import load
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records.schema import RunSummary
from server_app.plan import Plan

SMALL: dict[str, Scalar] = {
    "strategy": "fedavg",
    "run.rounds": 1,
    "federation.clients": 10,
    "task.train_samples": 200,
    "task.test_samples": 40,
    "model.resnet8.width": 4,
    "training.local_epochs": 1,
    "adversary.malicious_fraction": 0.0,
}


def play(**changes: Scalar) -> tuple[RunSummary, dict[str, object]]:
    settings = {key.replace("__", "."): value for key, value in changes.items()}
    summary = run_in_process(Plan.make(load({**SMALL, **settings})))
    return summary, json.loads((Path(summary.folder) / "run.json").read_text("utf-8"))


def test_a_repaired_partition_says_how_many_images_moved(runs_folder: Path) -> None:
    summary, run = play(partition__name="dirichlet", partition__dirichlet__beta=0.05, partition__dirichlet__tries=1)
    notes = [note for note in run["notes"] if note.startswith("partition repaired: ")]  # type: ignore[attr-defined]
    assert len(notes) == 1
    assert "of 200 training images were moved to clients whom the best of 1 draws left with fewer than 10" in notes[0]
    assert notes[0] in (Path(summary.folder) / "report.html").read_text("utf-8")


def test_nodes_with_data_of_their_own_have_no_partition_that_was_repaired() -> None:
    skewed = {**SMALL, "partition.name": "dirichlet", "partition.dirichlet.beta": 0.05, "partition.dirichlet.tries": 1}
    plan = Plan.make(load(skewed))
    assert plan.partition_notes
    assert replace(plan, config=load({**skewed, "federation.own_data": True})).partition_notes == ()


def test_a_partition_that_needed_no_repair_says_nothing(runs_folder: Path) -> None:
    _, run = play(partition__name="iid", output__report=False)
    assert run["notes"] == []


def test_the_page_says_what_privacy_was_spent(runs_folder: Path) -> None:
    summary, run = play(strategy="dp", partition__name="iid")
    assert "one client" in str(run["privacy"])
    page = (Path(summary.folder) / "report.html").read_text("utf-8")
    assert f"Differential privacy: epsilon {summary.epsilon:.3g} at delta" in page
