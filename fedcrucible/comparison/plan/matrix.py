"""A matrix of runs: axes with their values, and the cells they span."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fedcrucible.comparison.plan.cell import IN_PROCESS, SEED, Cell
from fedcrucible.comparison.plan.ladders import Tuning
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import is_defence, overlaid
from fedcrucible_core.config.old_keys import today
from fedcrucible_core.config.values import Scalar

SYSTEM, ATTACK = "strategy", "attack"
AXIS_OF_KEY = {
    "strategy": SYSTEM,
    "attack.name": ATTACK,
    "task.dataset": "dataset",
    "partition.name": "partition",
    "adversary.malicious_fraction": "malicious",
    "run.seed": SEED,
}
"""Configuration keys whose axes have short names."""
KEY_OF_AXIS = {axis: key for key, axis in AXIS_OF_KEY.items()}


@dataclass(frozen=True)
class Point:
    """One value of an axis: what it is called and which settings it makes."""

    label: Scalar
    settings: Mapping[str, Scalar]
    engine: str = ""
    """What carries its runs; empty = what carries the others."""

    def today(self) -> Point:
        """The same point; keys of an earlier version are today's."""
        return replace(self, settings={today(key): value for key, value in self.settings.items()})


@dataclass(frozen=True)
class Axis:
    """Something that varies."""

    name: str
    points: tuple[Point, ...]

    @classmethod
    def of_key(cls, key: str, values: Sequence[Scalar]) -> Axis:
        """An axis over the values of one configuration key, which may be one of an earlier version."""
        key = today(key)
        return cls.named(AXIS_OF_KEY.get(key, key), [Point(value, {key: value}) for value in values])

    @classmethod
    def named(cls, name: str, points: Sequence[Point]) -> Axis:
        """An axis over any points. Raises ConfigError for none, or for two of one name."""
        points = [point.today() for point in points]
        labels = [point.label for point in points]
        if not labels:
            raise ConfigError(name, "", "an axis needs at least one value")
        twice = [label for label in labels if labels.count(label) > 1]
        if twice:
            raise ConfigError(name, twice[0], "listed twice")
        return cls(name, tuple(points))

    @property
    def keys(self) -> set[str]:
        """Configuration keys that its points set."""
        return {key for point in self.points for key in point.settings}

    @property
    def labels(self) -> tuple[Scalar, ...]:
        """Its values in order."""
        return tuple(point.label for point in self.points)


@dataclass(frozen=True)
class Matrix:
    """All combinations of the axes' values, each for every seed."""

    settings: Mapping[str, Scalar]
    """What all cells share."""
    axes: tuple[Axis, ...]
    seeds: tuple[int, ...]
    title: str = "Comparison"
    reference: str = ""
    """System that the others are tested against; empty = the first."""
    systems: str = ""
    """Axis whose values compete; empty = the strategies, else the first that varies something of the defence."""
    columns: str = ""
    """Axis that makes the columns of tables; empty = the attacks, else the first that varies."""
    margin: float = 5.0
    """The best ASR is sought among systems that give up at most this many points of the best MA."""
    paper: str = ""
    """Table that our numbers stand beside, e.g. ``clip-fed/table1``."""
    paper_labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Axis -> our label -> the paper's."""
    stated: Mapping[str, str] = field(default_factory=dict)
    assumed: Mapping[str, str] = field(default_factory=dict)
    changed: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    engine: str = IN_PROCESS
    """What carries runs of points that don't say."""
    numbers: tuple[str, ...] = ("ma", "asr")
    """Columns of the table on the terminal."""
    whole_records: bool = False
    """Whether each run's record keeps its model, and has a page of its own."""
    tuning: Tuning | None = None
    """What is tried before, to choose settings of defences."""
    chosen: Mapping[tuple[Scalar, ...], Mapping[str, Scalar]] = field(default_factory=dict)
    """Labels of all axes in their order -> settings that tuning has chosen for these cells."""

    def __post_init__(self) -> None:
        owners: dict[str, str] = {}
        for axis in self.axes:
            for key in axis.keys:
                if key == KEY_OF_AXIS[SEED]:
                    raise ConfigError(axis.name, key, "seeds have an option of their own")
                if key in owners:
                    raise ConfigError(key, f"{owners[key]}, {axis.name}", "is set by two axes")
                owners[key] = axis.name

    def cells(self) -> list[Cell]:
        """Every cell; whole seeds first, so that an interrupted matrix holds complete ones."""
        return list(self._cells())

    def _cells(self) -> Iterator[Cell]:
        for seed in self.seeds:
            for points in itertools.product(*(axis.points for axis in self.axes)):
                labels = {axis.name: point.label for axis, point in zip(self.axes, points, strict=True)}
                own = self.chosen.get(tuple(point.label for point in points), {})
                settings = overlaid(self.settings, *(point.settings for point in points), own)
                engine = next((point.engine for point in points if point.engine), self.engine)
                yield Cell({**labels, SEED: seed}, {**settings, KEY_OF_AXIS[SEED]: seed}, engine)

    @property
    def varied(self) -> tuple[Axis, ...]:
        """Axes with several values."""
        return tuple(axis for axis in self.axes if len(axis.points) > 1)

    @property
    def system_axis(self) -> str:
        """The axis whose values compete: the one asked for, the strategies, else the first that varies the defence."""
        if self.systems:
            return self.systems
        names = [axis.name for axis in self.varied if any(map(is_defence, axis.keys))]
        return SYSTEM if SYSTEM in names or not names else names[0]

    @property
    def column_axis(self) -> str:
        """The axis that makes a table's columns: the one asked for, the attacks, else the first that varies, if any."""
        names = [axis.name for axis in self.varied if axis.name != self.system_axis]
        return next((name for name in (self.columns, ATTACK, *names) if name in names), "")

    @property
    def block_axes(self) -> tuple[str, ...]:
        """Axes that make a table of their own for each value."""
        taken = {self.system_axis, self.column_axis}
        return tuple(axis.name for axis in self.varied if axis.name not in taken)

    @property
    def system_points(self) -> tuple[Point, ...]:
        """The points whose values compete."""
        return next((axis.points for axis in self.axes if axis.name == self.system_axis), ())

    def labels_of(self, axis_name: str) -> tuple[Scalar, ...]:
        """Values of an axis by name; none for an unknown one."""
        return next((axis.labels for axis in self.axes if axis.name == axis_name), ())
