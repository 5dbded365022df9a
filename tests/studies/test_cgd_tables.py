"""The study of CGD's tables gives the numbers of the runs that it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

import fedcrucible
from fedcrucible.comparison.plan.cell import Cell
from fedcrucible_core.config.values import Scalar
from studies.cgd_tables import append_row, picked, read_rows, run_cell

SMALL: dict[str, Scalar] = {
    "strategy": "central", "poison.central": True, "poison.ratio": 0.2, "poison.share_of": "all",
    "attack.name": "badnets", "task.train_samples": 300, "task.test_samples": 200, "model.resnet8.width": 4,
    "run.rounds": 2, "run.eval_every": 2, "training.lr": 0.05, "output.report": False,
}  # fmt: skip
CGD: dict[str, Scalar] = {
    "repair.name": "cgd-unlearn", "repair.cgd-unlearn.epochs": 1, "splitter.cgd-entropy.models": 1,
    "splitter.cgd-entropy.epochs": 1,
}  # fmt: skip


NO_REPAIR: dict[str, Scalar] = {}


def _cell(name: str, own: Mapping[str, Scalar] = NO_REPAIR) -> Cell:
    return Cell({"defence": name, "seed": 1}, SMALL | dict(own))


@pytest.mark.parametrize("own", [{}, CGD, {"repair.name": "ep"}], ids=["none", "cgd", "ep"])
def test_a_cell_has_the_numbers_of_its_run(own: dict[str, Scalar], tmp_path: Path) -> None:
    row = run_cell(_cell("x", own), tmp_path, keep=False)
    result = fedcrucible.run(settings=SMALL | own | {"output.dir": str(tmp_path / "runs")})
    assert (row.ca, row.asr) == (result.summary.ma_percent, result.summary.asr_percent)


def test_cells_share_the_model_before_the_repair(tmp_path: Path) -> None:
    ep: dict[str, Scalar] = {"repair.name": "ep", "guide.scale": 3.0}
    for own in (NO_REPAIR, CGD, ep):
        run_cell(_cell("x", own), tmp_path, keep=False)
    assert len(list((tmp_path / "models").iterdir())) == 1
    run_cell(_cell("x", {"poison.ratio": 0.1}), tmp_path, keep=False)
    assert len(list((tmp_path / "models").iterdir())) == 2


def test_finished_cells_are_read_again(tmp_path: Path) -> None:
    row = run_cell(_cell("x", CGD), tmp_path, keep=False)
    append_row(tmp_path, row)
    (again,) = read_rows(tmp_path).values()
    assert (again.labels, again.notes) == (row.labels, row.notes)
    assert again.facts == pytest.approx(row.facts)
    assert again.asr == pytest.approx(row.asr, abs=1e-3)


def test_labels_that_no_cell_has_are_refused() -> None:
    cells = [_cell("a"), _cell("b")]
    assert picked(cells, ["defence=b"]) == cells[1:]
    assert picked(cells, ["defence=b", "defence=a"]) == cells
    with pytest.raises(SystemExit, match="no 'c'; the axis 'defence' has a, b"):
        picked(cells, ["defence=c"])
