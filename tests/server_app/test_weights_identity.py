"""Weights that a run begins on are part of what it is: the file that is loaded, whatever lies beside it."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from fedcrucible_core.config.load import load
from fedcrucible_core.learning.models.weights_file import RECORDED
from fedcrucible_core.records import files
from server_app.identity import digest, run_identity
from server_app.plan import Plan

SETTINGS = {"strategy": "central", "task.train_samples": 20, "task.test_samples": 10, "model.name": "logistic"}


def _record(folder: Path, value: float) -> Path:
    """What looks like the record of a run whose model holds this value throughout."""
    folder.mkdir()
    state = Plan.make(load(SETTINGS)).model().state_dict()
    save_file({name: torch.full_like(tensor, value) for name, tensor in state.items()}, folder / RECORDED)
    return folder


def test_a_record_calls_its_model_so() -> None:
    assert RECORDED == files.MODEL


def test_records_of_one_size_are_told_apart_and_a_page_beside_the_model_changes_nothing(tmp_path: Path) -> None:
    one, other = (_record(tmp_path / name, value) for name, value in (("one", 0.5), ("other", 0.25)))
    configs = [load(SETTINGS | {"model.weights": str(place)}) for place in (one, other, one / RECORDED)]
    cells = [digest(config) for config in configs]
    assert cells[0] != cells[1]
    assert cells[0] == cells[2], "a record means its model"
    assert digest(load(SETTINGS)) not in cells
    before = run_identity(Plan.make(configs[0]))
    (one / "report.html").write_text("drawn later", encoding="utf-8")
    assert run_identity(Plan.make(configs[0])) == before
    (one / RECORDED).write_bytes((other / RECORDED).read_bytes())
    assert run_identity(Plan.make(configs[0])) != before
