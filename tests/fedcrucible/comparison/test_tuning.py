"""Settings of defences, chosen by one rule on trials that no table reports."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from fedcrucible.comparison.plan.cell import Cell
from fedcrucible.comparison.plan.matrix import Matrix
from fedcrucible.comparison.plan.request import Options, matrix
from fedcrucible.comparison.session import Request, compare, preview
from fedcrucible.comparison.tuning import Choice, Trials, choose, trial_cells, trials_of, tuned
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.values import Scalar

PRESET = """
preset = "smoke"

[run]
rounds = 1

[compare]
title = "tuned"
attacks = ["badnets", "blend"]
seeds = [1, 2]

[compare.axes.strategy]
"no defence" = { strategy = "fedavg" }
"Krum" = { strategy = "krum" }
"clipping" = { strategy = "norm-threshold" }

[compare.tuning]
seed = 77

[compare.tuning.ladders]
"clipping" = { key = "defense.norm-threshold.bound", values = [0.5, 1.0, 4.0] }
"""


def made(folder: Path, text: str = PRESET) -> Matrix:
    path = folder / "tuned.toml"
    path.write_text(text, encoding="utf-8")
    return matrix(Options(str(path)))


def trials(folder: Path) -> list[Trials]:
    grid = made(folder)
    assert grid.tuning is not None
    return trials_of(grid, grid.tuning)


def step(cell: Cell) -> Scalar:
    return cell.settings["defense.norm-threshold.bound"]


def test_every_step_is_tried_in_every_place_on_the_validation_split(tmp_path: Path) -> None:
    found = trials(tmp_path)
    assert [one.place for one in found] == [("badnets", "clipping"), ("blend", "clipping")]
    for one, attack in zip(found, ("badnets", "blend"), strict=True):
        assert [step(cell) for cell in one.steps] == [0.5, 1.0, 4.0]
        assert one.undefended.settings["strategy"] == "fedavg"
        for cell in one.cells:
            chosen = cell.config
            assert (chosen.task.eval_split, chosen.run.seed, chosen.attack.name) == ("validation", 77, attack)
    assert len({cell.digest for cell in trial_cells(made(tmp_path))}) == 8


def test_without_a_table_nothing_is_tried(tmp_path: Path) -> None:
    assert trial_cells(made(tmp_path, PRESET.partition("[compare.tuning]")[0])) == []


def chosen(folder: Path, reached: Mapping[Scalar, float | None], base: float | None = 80.0) -> Choice:
    """What is chosen where the undefended run measured ``base`` and each step what is said."""
    one = trials(folder)[0]
    return choose(one, lambda cell: base if cell is one.undefended else reached[step(cell)], 10.0)


@pytest.mark.parametrize(
    ("reached", "value", "drop", "within"),
    [
        ({0.5: 60.0, 1.0: 70.0, 4.0: 79.0}, 1.0, 10.0, True),  # exactly as much as is allowed
        ({0.5: 75.0, 1.0: 70.0, 4.0: 79.0}, 0.5, 5.0, True),  # the strongest, not the one of least drop
        ({0.5: 60.0, 1.0: 65.0, 4.0: 62.0}, 1.0, 15.0, False),  # none: that of least drop
        ({0.5: 60.0, 1.0: 60.0, 4.0: 60.0}, 0.5, 20.0, False),  # of equal ones the stronger
        ({0.5: None, 1.0: 85.0, 4.0: 79.0}, 1.0, -5.0, True),  # a gain is no drop; what failed is passed over
        ({0.5: 69.9, 1.0: None, 4.0: None}, 0.5, 10.1, False),
    ],
)
def test_the_strongest_that_costs_little_is_kept(
    reached: dict[Scalar, float | None], value: float, drop: float, within: bool, tmp_path: Path
) -> None:
    found = chosen(tmp_path, reached)
    assert (found.value, found.within) == (value, within)
    assert found.drop == pytest.approx(drop)


@pytest.mark.parametrize("base", [None, 80.0])
def test_without_numbers_nothing_is_chosen(base: float | None, tmp_path: Path) -> None:
    found = chosen(tmp_path, {0.5: None, 1.0: None, 4.0: None}, base)
    assert (found.value, found.drop) == (None, None)
    said = found.sentence(made(tmp_path), 10.0)
    assert "stays as it was" in said
    assert ("the undefended trial has no number" in said) == (base is None)


def test_steps_without_a_number_are_named(tmp_path: Path) -> None:
    said = chosen(tmp_path, {0.5: None, 1.0: 79.0, 4.0: 79.5}).sentence(made(tmp_path), 10.0)
    assert "bound = 1, drop 1.00 points (at most 10 allowed; validation split). No number of 0.5" in said


def test_some_of_the_systems_can_be_asked_for(tmp_path: Path) -> None:
    made(tmp_path)
    path = str(tmp_path / "tuned.toml")

    def picked(*names: str) -> Matrix:
        return matrix(Options(path, strategies=names))

    assert trial_cells(picked("no defence", "Krum")) == []
    assert len(trial_cells(picked("clipping", "no defence"))) == 2 * 4
    with pytest.raises(ConfigError, match=r"compare\.tuning\.undefended = 'no defence'.*allowed: Krum, clipping"):
        picked("Krum", "clipping")


def test_choices_are_settings_of_their_own_cells_and_told(tmp_path: Path) -> None:
    grid, (first, second) = made(tmp_path), trials(tmp_path)
    choices = [
        Choice(first.place, first.ladder, 1.0, 9.0, True), Choice(second.place, second.ladder, 4.0, 30.0, False),
    ]  # fmt: skip
    done = tuned(grid, choices, 10.0)
    values = {
        (cell.labels["attack"], cell.labels["strategy"]): cell.settings.get("defense.norm-threshold.bound")
        for cell in done.cells()
    }
    assert values["badnets", "clipping"] == 1.0
    assert values["blend", "clipping"] == 4.0
    assert values["badnets", "Krum"] is None
    assert values["badnets", "no defence"] is None
    assert [cell.labels for cell in done.cells()] == [cell.labels for cell in grid.cells()]
    assert "defense.norm-threshold.bound = 1, drop 9.00 points (at most 10 allowed" in done.remarks[0]
    assert "no setting of the ladder stays within 10 points" in done.remarks[1]
    assert "blend, clipping" in done.remarks[1]


@pytest.mark.parametrize(
    ("before", "after", "key"),
    [
        ("seed = 77", "seed = 2", r"compare\.tuning\.seed = 2.*doesn't use"),
        ('"clipping" = { key', '"cliping" = { key', r"compare\.tuning\.ladders = 'cliping'.*clipping"),
        ('bound", values', 'bond", values', r"compare\.tuning\.ladders\.clipping\.key"),
        ("seed = 77", 'seed = 77\nmeasure = "clean"', r"compare\.tuning\.measure"),
        ("seed = 77", 'seed = 77\nundefended = "nobody"', r"compare\.tuning\.undefended"),
        ("seed = 77", "seed = 77\nsteps = 3", r"compare\.tuning\.steps.*allowed: seed, most_drop"),
        ("[0.5, 1.0, 4.0]", "[]", r"compare\.tuning\.ladders\.clipping\.values"),
        ("[0.5, 1.0, 4.0]", "[0.5, 0.5]", r"compare\.tuning\.ladders\.clipping\.values = '?0\.5'?: listed twice"),
        ("values = [0.5", "steps = 3, values = [0.5", r"ladders\.clipping\.steps.*allowed: key, values"),
        ("seed = 77", 'seed = 77\nmeasure = "asr"', r"compare\.tuning\.measure = 'asr'.*allowed: ma,"),
        ('"clipping" = { key', '"no defence" = { key', r"compare\.tuning\.ladders = 'no defence'.*Krum"),
        ('"defense.norm-threshold.bound", values', '"run.seed", values', r"clipping\.key = 'run\.seed'.*defence"),
        ('"defense.norm-threshold.bound", values', '"task.eval_split", values', r"clipping\.key = 'task\.eval_split'"),
        ('title = "tuned"', 'title = "tuned"\nsystems = "nosuch"', r"compare\.systems = 'nosuch'"),
    ],
)
def test_a_table_that_can_not_be_meant_is_refused(before: str, after: str, key: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=key):
        made(tmp_path, PRESET.replace(before, after))


def test_a_preview_counts_trials_too(tmp_path: Path) -> None:
    made(tmp_path)
    found = preview(Request(Options(str(tmp_path / "tuned.toml")), 1, tmp_path / "out", quiet=True))
    assert len(found.todo) == 2 * 3 * 2 + 2 * 4


def test_steps_that_are_impossible_are_not_counted(tmp_path: Path) -> None:
    ladder = 'key = "guide.model", values = ["/nowhere", "tiny"]'
    text = PRESET.replace('key = "defense.norm-threshold.bound", values = [0.5, 1.0, 4.0]', ladder)
    made(tmp_path, text.replace('preset = "smoke"', 'preset = "smoke"\npurifier.name = "clip-guided"'))
    found = preview(Request(Options(str(tmp_path / "tuned.toml")), 1, tmp_path / "out", quiet=True))
    assert len(found.todo) == 2 * 3 * 2 + 2 * 2


def test_a_tuned_matrix_runs_and_says_what_was_chosen(tmp_path: Path) -> None:
    made(tmp_path, PRESET.replace('"blend"', "").replace('badnets", ', 'badnets"').replace("[1, 2]", "[1]"))
    request = Request(Options(str(tmp_path / "tuned.toml")), 1, tmp_path / "out", quiet=True)
    outcome, folder = compare(request)
    assert not outcome.failed
    assert len(outcome.cells) == 3, "trials are in no table"
    text = (folder / "results.md").read_text(encoding="utf-8")
    assert "tuning of clipping: defense.norm-threshold.bound = " in text
    clipping = next(cell for cell in outcome.cells if cell.labels["strategy"] == "clipping")
    assert "defense.norm-threshold.bound" in clipping.settings
    again, _ = compare(request)
    assert again.results.ran == 0
