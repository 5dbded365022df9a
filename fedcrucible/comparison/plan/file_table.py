"""The ``[compare]`` table of a preset file: what it says, its axes, and the notes on settings beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedcrucible.comparison.plan.cell import ENGINES
from fedcrucible.comparison.plan.ladders import LadderTable, TuningTable
from fedcrucible.comparison.plan.matrix import ATTACK, AXIS_OF_KEY, KEY_OF_AXIS, SYSTEM, Axis, Point
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.errors import did_you_mean
from fedcrucible_core.config.old_keys import today
from fedcrucible_core.config.plain_text import visible
from fedcrucible_core.config.preset import flatten_table, preset_layers
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.reports.statistics.measures import MEASURES

SEEDS = (1, 2, 3)
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
    systems: str = Field("", description="Axis whose values compete; empty = strategies, else the first of the defence")
    margin: float = Field(5.0, ge=0.0, le=100.0, description="Points of MA that the best ASR may cost")
    paper: PaperTable | None = Field(None, description="Table of a paper beside ours")
    stated: dict[str, str] = Field({}, description="Key -> what the paper says of it")
    assumed: dict[str, str] = Field({}, description="Key -> why this value, where the paper is silent")
    changed: dict[str, str] = Field({}, description="Key -> why it differs from the paper")
    remarks: tuple[str, ...] = Field((), description="What else a reader must know")
    numbers: tuple[str, ...] = Field(("ma", "asr"), description="Columns of results.csv that the terminal shows")
    whole_records: bool = Field(False, description="Each run keeps its model and has a page of its own")
    tuning: TuningTable | None = Field(None, description="Settings of defences that are tried before the matrix runs")


PARTS: Mapping[str, type[BaseModel]] = {"paper": PaperTable, "tuning": TuningTable}
"""Tables inside the table."""


def read_table(preset: str) -> tuple[CompareTable, dict[str, dict[str, str]]]:
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
        part = (
            LadderTable if first["loc"][:2] == ("tuning", "ladders") else PARTS.get(str(first["loc"][0]), CompareTable)
        )
        names = list(part.model_fields)
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


def axes_of(table: CompareTable) -> list[Axis]:
    """The axes that a file asks for, outermost first. Raises ConfigError."""
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
    return Point(label, settings, engine_named(f"{axis}.{label}.engine", engine) if engine else "")


def _holds_list(value: Mapping[str, Any]) -> bool:
    return any(isinstance(v, list) or (isinstance(v, Mapping) and _holds_list(v)) for v in value.values())


def engine_named(key: str, name: Scalar) -> str:
    """A registered engine's name. Raises ConfigError that names ``key``."""
    if name not in ENGINES:
        raise ConfigError(key, name, f"allowed: {', '.join(ENGINES)}")
    return str(name)


def column_named(name: str) -> str:
    """A column of results.csv. Raises ConfigError."""
    if name not in MEASURES:
        raise ConfigError("compare.numbers", name, f"{did_you_mean(name, MEASURES)}allowed: {', '.join(MEASURES)}")
    return name
