"""Presets of attackers who know the filter, and of tuned defences: every cell is one that can be asked for."""

from __future__ import annotations

import pytest

from attacks.adversary import Adversary
from fedcrucible.comparison.plan.request import Options, matrix
from fedcrucible.comparison.tuning import trial_cells
from fedcrucible_core.foundation.base import SOURCES
from fedcrucible_core.learning.models.base import MODELS
from strategies.systems import assemble

RUNS = {"fm-fl/adaptive-small": 13 * 5, "fm-fl/adaptive-text-small": 10 * 6, "fm-fl/tuned-small": 2 * 8}


@pytest.mark.parametrize("preset", RUNS)
def test_every_cell_names_what_is_there(preset: str) -> None:
    grid = matrix(Options(preset, seeds="1"))
    cells = grid.cells()
    assert len(cells) == RUNS[preset]
    for cell in (*cells, *trial_cells(grid)):
        system, adversary = assemble(cell.config), Adversary.of(cell.config)
        assert system.name == "fm-fl"
        assert adversary.compromise is not None
        MODELS.of(cell.config)
        SOURCES.of(cell.config)


@pytest.mark.parametrize("preset", [name for name in RUNS if "adaptive" in name])
def test_every_attacker_stands_undefended_beside_defended(preset: str) -> None:
    grid = matrix(Options(preset))
    (attackers,) = (axis.labels for axis in grid.axes if axis.name == "attacker")
    assert {"nobody", "as-published"} <= set(map(str, attackers))
    assert grid.column_axis == "attacker"
    assert grid.labels_of("defence")[0] == grid.reference == "undefended"


def test_tuned_defences_are_tried_in_both_columns() -> None:
    grid = matrix(Options("fm-fl/tuned-small"))
    trials = trial_cells(grid)
    assert len(trials) == 2 * (5 + 5 + 3 + 3 + 4 + 4 + 6), "each step, and an undefended run beside each ladder"
    assert {cell.config.run.seed for cell in trials} == {101}
    assert {cell.config.task.eval_split for cell in trials} == {"validation"}
