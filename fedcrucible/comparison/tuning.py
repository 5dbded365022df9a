"""Tuning of defences by one rule: of each, the strongest setting whose accuracy stays near that without any defence.

Settings are tried on the validation split with a seed that the matrix doesn't use, so no test image and no draw that
is reported later has a say.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from fedcrucible.comparison.plan.cell import SEED, Cell
from fedcrucible.comparison.plan.ladders import Ladder, Tuning
from fedcrucible.comparison.plan.matrix import KEY_OF_AXIS, Matrix, Point
from fedcrucible_core.config.load import overlaid
from fedcrucible_core.config.values import Scalar, value_text

Accuracy = Callable[[Cell], float | None]
"""What a finished trial measured, in percent; None where it has no number."""
VALIDATION = {"task.eval_split": "validation"}
TRIAL = "setting"
"""Label of trials that says which step of the ladder they are."""


@dataclass(frozen=True)
class Trials:
    """What is tried for one defence in one spot: the undefended run, and a run for each step of its ladder."""

    place: tuple[Scalar, ...]
    """Labels of the matrix' axes in their order, the defence's among them."""
    ladder: Ladder
    undefended: Cell
    steps: tuple[Cell, ...]
    """In the ladder's order, the strongest first."""

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All runs."""
        return (self.undefended, *self.steps)


@dataclass(frozen=True)
class Choice:
    """The setting that a defence gets in one spot."""

    place: tuple[Scalar, ...]
    ladder: Ladder
    value: Scalar | None
    """None: nothing could be chosen, the defence keeps the setting of the matrix."""
    drop: float | None = None
    """Accuracy without the defence less that with it, in points, on the validation split; negative = it gains."""
    within: bool = False
    """Whether that is at most what is allowed; if not, this is the step that costs least."""
    missing: tuple[Scalar, ...] = ()
    """Steps without a number: their trials failed, are impossible, or are still to run."""
    undefended: bool = True
    """Whether the undefended trial has one."""

    def sentence(self, matrix: Matrix, most: float) -> str:
        """For readers of the tables."""
        where = ", ".join(
            value_text(label) for label, axis in zip(self.place, matrix.axes, strict=True) if axis in matrix.varied
        )
        if self.value is None or self.drop is None:
            why = "no setting of the ladder has a number" if self.undefended else "the undefended trial has no number"
            return f"tuning of {where}: {why}, {self.ladder.key} stays as it was."
        chosen = f"tuning of {where}: {self.ladder.key} = {value_text(self.value)}, drop {self.drop:.2f} points"
        passed = f" No number of {', '.join(map(value_text, self.missing))}: passed over." if self.missing else ""
        if self.within:
            return f"{chosen} (at most {most:g} allowed; validation split).{passed}"
        return f"{chosen}: no setting of the ladder stays within {most:g} points, this one costs least.{passed}"


def trials_of(matrix: Matrix, tuning: Tuning) -> list[Trials]:
    """All that has to be tried before a matrix: every ladder in every combination of the other axes' values."""
    return list(_trials(matrix, tuning))


def trial_cells(matrix: Matrix) -> list[Cell]:
    """Every run of the matrix' trials; none where nothing is tuned."""
    trials = trials_of(matrix, matrix.tuning) if matrix.tuning is not None else []
    return [cell for one in trials for cell in one.cells]


def _trials(matrix: Matrix, tuning: Tuning) -> Iterator[Trials]:
    axis = next(axis for axis in matrix.axes if axis.name == matrix.system_axis)
    plain = next(point for point in axis.points if value_text(point.label) == tuning.undefended)
    for points in itertools.product(*(other.points for other in matrix.axes)):
        system = points[matrix.axes.index(axis)]
        ladder = tuning.ladders.get(value_text(system.label))
        if ladder is None:
            continue

        def cell(chosen: Point, step: str, extra: dict[str, Scalar], at: tuple[Point, ...] = points) -> Cell:
            own = tuple(chosen if other is axis else point for other, point in zip(matrix.axes, at, strict=True))
            labels = {other.name: point.label for other, point in zip(matrix.axes, own, strict=True)}
            settings = overlaid(matrix.settings, *(point.settings for point in own), VALIDATION, extra)
            engine = next((point.engine for point in own if point.engine), matrix.engine)
            seeded = {**settings, KEY_OF_AXIS[SEED]: tuning.seed}
            return Cell({**labels, TRIAL: step, SEED: tuning.seed}, seeded, engine)

        yield Trials(
            tuple(point.label for point in points),
            ladder,
            cell(plain, "undefended", {}),
            tuple(cell(system, f"{ladder.key} = {value_text(v)}", {ladder.key: v}) for v in ladder.values),
        )


def choose(trials: Trials, accuracy: Accuracy, most_drop: float) -> Choice:
    """The first, strongest step whose drop is at most ``most_drop`` points; where there is none the one of least drop.

    Of equal drops the stronger one.  Steps without a number are passed over, and named.
    """
    base = accuracy(trials.undefended)
    found = [(value, accuracy(cell)) for value, cell in zip(trials.ladder.values, trials.steps, strict=True)]
    drops = [(value, base - reached) for value, reached in found if base is not None and reached is not None]
    missing = tuple(value for value, reached in found if reached is None)
    if not drops:
        return Choice(trials.place, trials.ladder, None, missing=missing, undefended=base is not None)
    value, drop = next((one for one in drops if one[1] <= most_drop), min(drops, key=lambda one: one[1]))
    return Choice(trials.place, trials.ladder, value, drop, drop <= most_drop, missing)


def tuned(matrix: Matrix, choices: Sequence[Choice], most_drop: float) -> Matrix:
    """The matrix with every defence at the setting that was chosen for it, and remarks that say which."""
    chosen = {one.place: {one.ladder.key: one.value} for one in choices if one.value is not None}
    remarks = [one.sentence(matrix, most_drop) for one in choices]
    return replace(matrix, chosen=chosen, remarks=(*matrix.remarks, *remarks))
