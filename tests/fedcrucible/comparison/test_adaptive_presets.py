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


def test_every_adaptive_attacker_of_cgd_is_one_of_data_and_stands_undefended_beside_defended() -> None:
    grid = matrix(Options("cgd/adaptive-small", seeds="1"))
    cells = grid.cells()
    assert len(cells) == 11 * 3
    assert grid.labels_of("defence")[0] == grid.reference == "NoDef"
    for cell in cells:
        assert cell.config.poison.central
        assert Adversary.of(cell.config).compromise is None
        assert assemble(cell.config).kind.trainer == "central"
    attacks = {(cell.config.attack.name, cell.config.poison.classes, cell.config.poison.smoke) for cell in cells}
    assert {("badnets", "nearest", 0.0), ("badnets", "", 0.2), ("multi-trigger", "", 0.0)} <= attacks
