"""From a preset file's ``[compare]`` table and the command line's options to a matrix."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedcrucible.comparison.plan.cell import ENGINES, IN_PROCESS, SEED
from fedcrucible.comparison.plan.matrix import ATTACK, AXIS_OF_KEY, KEY_OF_AXIS, SYSTEM, Axis, Matrix, Point
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.errors import did_you_mean
from fedcrucible_core.config.load import flatten_table, load_preset, parse_assignment, preset_layers
from fedcrucible_core.config.old_keys import today
from fedcrucible_core.config.plain_text import visible
from fedcrucible_core.config.values import Scalar, value_text
from fedcrucible_core.reports.statistics.measures import MEASURES

SEEDS = (1, 2, 3)
MOST_SEEDS = 1000
SHORT = {
    "datasets": "dataset", "partitions": "partition", "fractions": "malicious", "attacks": ATTACK, "strategies": SYSTEM,
}  # fmt: skip
"""Entries of the table and options that are axes under a shorter name, outermost first."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PaperTable(_Table):
    """``[compare.paper]``: which table of a paper the numbers stand beside, and what its labels are there."""

    table: str = Field(description="e.g. clip-fed/table1")
    labels: dict[str, dict[str, str]] = Field({}, description="Axis -> our label -> the paper's label")


class CompareTable(_Table):
    """``[compare]`` of a preset file."""

    title: str = Field("", description="Heading of tables and page")
    seeds: tuple[int, ...] = Field(SEEDS, description="Seeds of every cell")
    strategies: tuple[str, ...] = Field((), description="Axis over strategy")
    attacks: tuple[str, ...] = Field((), description="Axis over attack.name")
    datasets: tuple[str, ...] = Field((), description="Axis over task.dataset")
    partitions: tuple[str, ...] = Field((), description="Axis over partition.name")
    fractions: tuple[float, ...] = Field((), description="Axis over adversary.malicious_fraction")
    axes: dict[str, Any] = Field({}, description="Other axes: KEY = [values], or NAME.POINT = {settings}")
    reference: str = Field("", description="System that the others are tested against; empty = the first")
    columns: str = Field("", description="Axis that makes the columns of tables; empty = attacks, else the first")
    margin: float = Field(5.0, ge=0.0, le=100.0, description="Points of MA that the best ASR may cost")
    paper: PaperTable | None = Field(None, description="Table of a paper beside ours")
    stated: dict[str, str] = Field({}, description="Key -> what the paper says of it")
    assumed: dict[str, str] = Field({}, description="Key -> why this value, where the paper is silent")
    changed: dict[str, str] = Field({}, description="Key -> why it differs from the paper")
    remarks: tuple[str, ...] = Field((), description="What else a reader must know")
    numbers: tuple[str, ...] = Field(("ma", "asr"), description="Columns of results.csv that the terminal shows")
    whole_records: bool = Field(False, description="Each run keeps its model and has a page of its own")


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
    table, notes = _read(options.preset)
    axes = {axis.name: axis for axis in _file_axes(table)}
    for name, axis in SHORT.items():
        values: Values = getattr(options, name)
        if not isinstance(values, Collection):
            raise ConfigError(name, values, 'a text ("a,b") or a list of values')
        if len(values):
            axes[axis] = _pick(axes.get(axis), KEY_OF_AXIS[axis], _values(f"--{name}", KEY_OF_AXIS[axis], values))
    for given, listed in _axes_asked_for(options.axes):
        name = AXIS_OF_KEY.get(today(given), today(given))
        if name == SEED:
            raise ConfigError("--axis", given, "seeds have an option of their own: --seeds")
        key = KEY_OF_AXIS.get(name, name)
        axes[name] = _pick(axes.get(name), key, _values(f"--axis {name}", key, listed))
    settings = _common(options)
    for key, value in assigned(options.settings):
        _leave_to_axes(today(key), value, axes)
        settings[key] = value
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
        margin=table.margin if options.margin is None else options.margin,
        paper=table.paper.table if table.paper else "",
        paper_labels=table.paper.labels if table.paper else {},
        stated=notes["stated"],
        assumed=notes["assumed"],
        changed=notes["changed"],
        remarks=table.remarks,
        engine=_engine("engine", options.engine),
        numbers=tuple(map(_column, table.numbers)),
        whole_records=table.whole_records,
    )
    _check_reference(found)
    if table.columns and table.columns not in axes:
        allowed = f"{did_you_mean(table.columns, axes)}allowed: {', '.join(axes)}"
        raise ConfigError("compare.columns", table.columns, allowed)
    return found


def _read(preset: str) -> tuple[CompareTable, dict[str, dict[str, str]]]:
    """The file's own table, and the notes on settings of all files that it builds on.

    Of several notes on one key the last counts; an empty one takes the others back.
    """
    tables = [_parsed(layer.get("compare", {})) for layer in (preset_layers(preset) if preset else [{}])]
    notes: dict[str, dict[str, str]] = {"stated": {}, "assumed": {}, "changed": {}}
    for table in tables:
        for kind in notes:
            for given, text in getattr(table, kind).items():
                key = today(given)
                for others in notes.values():
                    others.pop(key, None)
                if text:
                    notes[kind][key] = text
    return tables[-1], notes


def _parsed(table: object) -> CompareTable:
    if not isinstance(table, Mapping):
        raise ConfigError("compare", table, "a table: [compare]")
    try:
        return CompareTable.model_validate(_shown_as_it_is(table))
    except ValidationError as error:
        first = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")  # a typo explains others
        key = ".".join(["compare", *map(str, first["loc"])])
        if first["type"] != "extra_forbidden":
            raise ConfigError(key, first["input"], first["msg"]) from None
        names = list((PaperTable if first["loc"][0] == "paper" else CompareTable).model_fields)
        unknown = str(first["loc"][-1])
        allowed = f"unknown key; {did_you_mean(unknown, names)}allowed: {', '.join(names)}"
        raise ConfigError(key, first["input"], allowed) from None


def _shown_as_it_is(part: object) -> object:
    """A table whose texts hold nothing that is not shown as itself: they go to terminals, pages, Markdown and LaTeX."""
    if isinstance(part, str):
        return visible(" ".join(part.splitlines()).replace("\t", " "))
    if isinstance(part, Mapping):
        return {_shown_as_it_is(key): _shown_as_it_is(value) for key, value in part.items()}
    return [_shown_as_it_is(value) for value in part] if isinstance(part, list) else part


def _file_axes(table: CompareTable) -> list[Axis]:
    found = [
        Axis.of_key(KEY_OF_AXIS[axis], getattr(table, name)) for name, axis in SHORT.items() if getattr(table, name)
    ]
    for name, value in table.axes.items():
        found += _axes(name, value)
    names = [axis.name for axis in found]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ConfigError("compare.axes", twice[0], "this axis is given twice")
    return found


def _axes(name: str, value: object) -> list[Axis]:
    """``KEY = [..]``, ``KEY.PART = [..]`` (TOML's dotted form of the same), or ``NAME = {POINT = {settings}}``."""
    if isinstance(value, list):
        for item in value:
            if not isinstance(item, (str, int, float, bool)):
                raise ConfigError(f"compare.axes.{name}", item, "a text, number or true/false")
        return [Axis.of_key(name, value)]
    if isinstance(value, Mapping) and _holds_list(value):
        return [axis for part, inner in value.items() for axis in _axes(f"{name}.{part}", inner)]
    if isinstance(value, Mapping) and all(isinstance(inner, Mapping) for inner in value.values()):
        points = [_point(f"compare.axes.{name}", label, inner) for label, inner in value.items()]
        return [Axis.named(AXIS_OF_KEY.get(name, name), points)]
    raise ConfigError(f"compare.axes.{name}", value, "KEY = [values], or a table of points: POINT = {KEY = value}")


def _point(axis: str, label: str, table: Mapping[str, Any]) -> Point:
    """A point's settings; ``engine`` among them says what carries its runs."""
    settings = flatten_table(table)
    engine = settings.pop("engine", "")
    return Point(label, settings, _engine(f"{axis}.{label}.engine", engine) if engine else "")


def _engine(key: str, name: Scalar) -> str:
    if name not in ENGINES:
        raise ConfigError(key, name, f"allowed: {', '.join(ENGINES)}")
    return str(name)


def _column(name: str) -> str:
    if name not in MEASURES:
        raise ConfigError("compare.numbers", name, f"{did_you_mean(name, MEASURES)}allowed: {', '.join(MEASURES)}")
    return name


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


def _holds_list(value: Mapping[str, Any]) -> bool:
    return any(isinstance(v, list) or (isinstance(v, Mapping) and _holds_list(v)) for v in value.values())


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
