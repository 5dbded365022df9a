"""The study of alternative triggers: which models are tried, and what a found pattern's rate is."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fedcrucible.comparison.plan.cell import Cell
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.models.base import SplitModel
from studies.alternative_trigger import (
    CLEAN,
    NONE,
    OWN,
    UNDEFENDED,
    Search,
    cell_of,
    patterns_of,
    print_table,
    study,
    tried,
)

SEARCH = Search(steps=30, lr=0.2, samples=24, batch_size=8, seed=1)
SMALL: dict[str, Scalar] = {
    "strategy": "central", "poison.central": True, "poison.ratio": 0.2, "poison.share_of": "all",
    "attack.name": "badnets", "task.train_samples": 200, "task.test_samples": 100, "model.resnet8.width": 4,
    "run.rounds": 1, "run.eval_every": 1, "training.lr": 0.05, "output.report": False,
}  # fmt: skip


class White(SplitModel):
    """Class 1 where the square of 2 x 2 at the bottom right is brighter than .8 on average, else class 0."""

    def __init__(self) -> None:
        super().__init__(torch.nn.Identity(), 1, DataInfo("white", ("dark", "bright", "neither"), (1, 32, 32), (), ()))

    def forward(self, x: Tensor) -> Tensor:
        bright = x[:, 0, -2:, -2:].mean((1, 2)) - 0.8
        return torch.stack([torch.zeros_like(bright), 50.0 * bright], 1)


def test_a_pattern_is_found_where_the_model_looks_and_nowhere_else() -> None:
    data = Labeled(torch.full((30, 1, 32, 32), 100, dtype=torch.uint8), torch.arange(30) % 3)
    patterns = patterns_of((1, 32, 32), [2], ["bottom-right", "top-left"], 4, 32.0)
    rates = tried(White(), data, data, 1, patterns, SEARCH)
    assert rates == {NONE: 0.0, "2x2 bottom-right": 100.0, "2x2 top-left": 0.0, "+-32/255 on 4x4 center": 0.0}


def test_patterns_have_the_place_the_size_and_the_bounds_asked_for() -> None:
    square, middle = patterns_of((1, 28, 28), [3], ["top-left"], 12, 51.0)
    assert square.mask.nonzero().tolist() == [[0, row, column] for row in range(3) for column in range(3)]
    assert (square.bounds, square.adds) == ((0.0, 1.0), False)
    assert int(middle.mask.sum()) == 121, "12 at 32 pixels are 11 at 28"
    assert middle.bounds == (-0.2, 0.2)
    assert len(patterns_of((1, 28, 28), [3], ["top-left"], 0, 51.0)) == 1


def test_every_model_is_tried_beside_one_of_clean_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    patterns = patterns_of((1, 28, 28), [5], ["bottom-right"], 0, 1.0)
    pruned: dict[str, Scalar] = SMALL | {"repair.name": "ep"}
    found = study([("EP", pruned)], patterns, SEARCH, tmp_path)
    assert list(found) == [CLEAN, UNDEFENDED, "EP"]
    assert len(list((tmp_path / "models").iterdir())) == 2, "the poisoned model is trained once"
    for rates in found.values():
        assert list(rates) == ["CA", OWN, NONE, "5x5 bottom-right"]
        assert all(0.0 <= rate <= 100.0 and not math.isnan(rate) for rate in rates.values())
    print_table([found])
    table = capsys.readouterr().out
    difference = found["EP"]["5x5 bottom-right"] - found[CLEAN]["5x5 bottom-right"]
    assert f"({difference:+.1f})" in table


def test_a_cell_that_is_not_there_is_refused() -> None:
    cells = [Cell({"attack": "BadNets", "defence": "CGD", "seed": 1}, SMALL)]
    assert cell_of(cells, "BadNets", "CGD") is cells[0]
    with pytest.raises(SystemExit, match="there are BadNets / CGD"):
        cell_of(cells, "BadNets", "ABL")
