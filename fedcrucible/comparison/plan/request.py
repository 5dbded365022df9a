"""From what the user asks for, a preset file and options, to a matrix."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from fedcrucible.comparison.plan.cell import IN_PROCESS, SEED
from fedcrucible.comparison.plan.file_table import (
    SHORT,
    CompareTable,
    axes_of,
    column_named,
    engine_named,
    read_table,
)
from fedcrucible.comparison.plan.ladders import Tuning, TuningTable
from fedcrucible.comparison.plan.matrix import ATTACK, AXIS_OF_KEY, KEY_OF_AXIS, SYSTEM, Axis, Matrix
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.errors import did_you_mean
from fedcrucible_core.config.load import overlaid, parse_assignment
from fedcrucible_core.config.old_keys import today
from fedcrucible_core.config.preset import load_preset
from fedcrucible_core.config.values import Scalar, value_text
from fedcrucible_core.reports.statistics.measures import MEASURES

MOST_SEEDS = 1000


Values = str | Sequence[Scalar]
"""``VALUE,VALUE`` (or a TOML list), or the values themselves."""


@dataclass(frozen=True)
class Options:
    """What the user says, as text of a command line or as values; it goes before the file."""

    preset: str = ""
    settings: Sequence[str] | Mapping[str, Scalar] = ()
    strategies: Values = ""
    attacks: Values = ""
    datasets: Values = ""
    partitions: Values = ""
    fractions: Values = ""
    seeds: str | Sequence[int] = ""
    axes: Sequence[str] | Mapping[str, Values] = ()
    """``KEY=VALUE,VALUE``, or key -> values."""
    reference: str = ""
    margin: float | None = None
    engine: str = IN_PROCESS
    """What carries runs of which the file says nothing."""
    base: Mapping[str, Scalar] | None = None
    """Settings of all cells in place of the file's; those of its axes go before them."""


def matrix(options: Options) -> Matrix:
    """The matrix that file and options ask for. Raises ConfigError."""
    table, notes = read_table(options.preset)
    axes = {axis.name: axis for axis in axes_of(table)}
    for name, axis in SHORT.items():
        values: Values = getattr(options, name)
        if not isinstance(values, Collection):
            raise ConfigError(name, values, 'a text ("a,b") or a list of values')
        if len(values):
            axes[axis] = _pick(axes.get(axis), KEY_OF_AXIS[axis], _values(f"--{name}", KEY_OF_AXIS[axis], values))
    for given, listed in _axes_asked_for(options.axes):
        key = today(given)
        name = AXIS_OF_KEY.get(key, key)
        if name == SEED:
            raise ConfigError("--axis", given, "seeds have an option of their own: --seeds")
        key = KEY_OF_AXIS.get(name, name)
        axes[name] = _pick(axes.get(name), key, _values(f"--axis {name}", key, listed))
    settings = _common(options)
    for key, value in assigned(options.settings):
        _leave_to_axes(today(key), value, axes)
        settings = overlaid(settings, {key: value})
    seeds = _seeds_asked_for(options.seeds) or table.seeds
    if len(set(seeds)) != len(seeds) or not seeds:
        raise ConfigError("seeds", ",".join(map(str, seeds)), "at least one, none twice")
    found = Matrix(
        {key: value for key, value in settings.items() if not key.startswith("output.")},
        _ordered(axes),
        seeds,
        title=table.title or "Comparison",
        reference=options.reference or table.reference,
        columns=table.columns,
        systems=table.systems,
        margin=table.margin if options.margin is None else options.margin,
        paper=table.paper.table if table.paper else "",
        paper_labels=table.paper.labels if table.paper else {},
        stated=notes["stated"],
        assumed=notes["assumed"],
        changed=notes["changed"],
        remarks=table.remarks,
        engine=engine_named("engine", options.engine),
        numbers=tuple(map(column_named, table.numbers)),
        whole_records=table.whole_records,
    )
    _check_reference(found)
    for entry, name, names in (("columns", table.columns, [*axes]), ("systems", table.systems, [*axes, SYSTEM])):
        if name and name not in names:
            allowed = f"{did_you_mean(name, names)}allowed: {', '.join(dict.fromkeys(names))}"
            raise ConfigError(f"compare.{entry}", name, allowed)
    return found if table.tuning is None else replace(found, tuning=_tuning(table, table.tuning, found))


def _tuning(table: CompareTable, tuning: TuningTable, found: Matrix) -> Tuning:
    """The file's tuning, of those systems that are left of its own."""
    chosen = found.labels_of(found.system_axis)
    listed = next((axis.labels for axis in axes_of(table) if axis.name == found.system_axis), chosen)
    accuracies = [name for name, number in MEASURES.items() if number.better == "higher" and "ma" in name.split("_")]
    return Tuning.of(tuning, listed, chosen, found.seeds, accuracies)


def _common(options: Options) -> dict[str, Scalar]:
    return load_preset(options.preset) if options.base is None else dict(options.base)


def assigned(settings: Sequence[str] | Mapping[str, Scalar]) -> Iterable[tuple[str, Scalar]]:
    """Settings as pairs; text is parsed. Raises ConfigError."""
    return settings.items() if isinstance(settings, Mapping) else map(parse_assignment, settings)


def _axes_asked_for(axes: Sequence[str] | Mapping[str, Values]) -> Iterable[tuple[str, Values]]:
    if isinstance(axes, Mapping):
        yield from axes.items()
        return
    for text in axes:
        key, sign, listed = text.partition("=")
        if not sign:
            raise ConfigError("--axis", text, "an axis is written KEY=VALUE,VALUE,...")
        yield key.strip(), listed


def _seeds_asked_for(seeds: str | Sequence[int]) -> tuple[int, ...]:
    if isinstance(seeds, str):
        return tuple(_seeds(seeds)) if seeds else ()
    if not isinstance(seeds, Collection):
        raise ConfigError("seeds", seeds, 'whole numbers: a list, or a text as "1-3"')
    if not all(isinstance(seed, int) and not isinstance(seed, bool) for seed in seeds):
        raise ConfigError("seeds", list(seeds), "whole numbers")
    return tuple(seeds)


def _pick(existing: Axis | None, key: str, values: Sequence[Scalar]) -> Axis:
    """The file's points of these labels; where one isn't among them, plain values of the axis' key."""
    points = {value_text(point.label): point for point in existing.points} if existing is not None else {}
    if existing is not None and all(value_text(value) in points for value in values):
        return Axis.named(existing.name, [points[value_text(value)] for value in values])
    if existing is not None and existing.keys != {key}:
        allowed = f"axis {existing.name!r} has the points {', '.join(map(value_text, existing.labels))}"
        raise ConfigError(existing.name, ", ".join(map(value_text, values)), allowed)
    return Axis.of_key(key, values)


def _leave_to_axes(key: str, value: Scalar, axes: dict[str, Axis]) -> None:
    """A setting of the command line ends an axis over that key alone; other axes must not be contradicted."""
    for name, axis in list(axes.items()):
        if key not in axis.keys:
            continue
        if axis.keys != {key} or any(len(point.settings) != 1 for point in axis.points):
            raise ConfigError(
                key, value, f"is set by the axis {name!r}; choose among its points with --axis {name}=..."
            )
        axes[name] = Axis.of_key(key, [value])


def _ordered(axes: Mapping[str, Axis]) -> tuple[Axis, ...]:
    """Data first, then what else varies, then attacks, strategies innermost."""
    last = (ATTACK, SYSTEM)
    first = [name for name in SHORT.values() if name not in last]
    order = [*first, *(name for name in axes if name not in (*first, *last)), *last]
    return tuple(axes[name] for name in order if name in axes)


def _values(option: str, key: str, given: Values) -> list[Scalar]:
    """``a,b,c``, or a TOML list where a value holds a comma itself; values that are none of text stay as they are."""
    if not isinstance(given, str):
        if not all(isinstance(value, (str, int, float, bool)) for value in given):
            raise ConfigError(option, list(given), "a list of texts, numbers or true/false")
        return list(given)
    if given.strip().startswith("["):
        try:
            values = tomllib.loads(f"values = {given}")["values"]
        except (ValueError, RecursionError):
            raise ConfigError(option, given, "neither VALUE,VALUE,... nor a TOML list") from None
        if not all(isinstance(value, (str, int, float, bool)) for value in values):
            raise ConfigError(option, given, "a list of texts, numbers or true/false")
        return list(values)
    parts = [part.strip() for part in given.split(",")]
    if not all(parts):
        raise ConfigError(option, given, "an empty value; write VALUE,VALUE,... or a TOML list")
    return [parse_assignment(f"{key}={part}")[1] for part in parts]


def _seeds(text: str) -> Iterable[int]:
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if not found:
            raise ConfigError("seeds", text, "whole numbers and ranges, e.g. 1,2,3 or 1-5")
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first:
            raise ConfigError("seeds", text, f"{part.strip()} runs backwards; write {last}-{first}")
        if last - first >= MOST_SEEDS:
            raise ConfigError("seeds", text, f"at most {MOST_SEEDS} seeds")
        yield from range(first, last + 1)


def _check_reference(found: Matrix) -> None:
    systems = [value_text(label) for label in found.labels_of(found.system_axis)]
    if found.reference and systems and found.reference not in systems:
        allowed = f"{did_you_mean(found.reference, systems)}allowed: {', '.join(systems)}"
        raise ConfigError("reference", found.reference, allowed)
