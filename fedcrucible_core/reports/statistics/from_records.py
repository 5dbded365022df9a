"""Spots from records alone, whatever made them: runs become rows, rows that faced the same become spots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fedcrucible_core.config.load import BEFORE, as_before, has_effect, is_defence
from fedcrucible_core.config.values import Scalar, value_text
from fedcrucible_core.records.reader import RecordedRun
from fedcrucible_core.reports.statistics.rows import Row
from fedcrucible_core.reports.statistics.spots import Spot, first_of

NAMED_DIFFERENCES = 3
"""Settings that tell two of one name apart are named, so many of them."""
Settings = Mapping[str, Scalar]
Pairs = frozenset[tuple[str, Scalar]]


@dataclass(frozen=True)
class SweptRow:
    """A row with the value of the setting that separates the runs, and the line it lies on."""

    line: str
    value: float
    row: Row


@dataclass(frozen=True)
class _Group:
    """Runs of one name that differ in their seed only."""

    name: str
    attack: str
    dataset: str
    settings: Pairs
    runs: list[RecordedRun]

    @property
    def own(self) -> Pairs:
        """The defender's settings."""
        return frozenset(pair for pair in self.settings if is_defence(pair[0]))

    @property
    def faced(self) -> tuple[str, str, Pairs]:
        """Everything else: groups that share it faced the same attack on the same data."""
        return self.attack, self.dataset, self.settings - self.own


def spots_of_records(labelled: Sequence[tuple[str, RecordedRun]]) -> tuple[list[Spot], int]:
    """Spots in the order of their first run, and how many runs were left out because their seed was there already.

    A run is labelled; an empty label is the system's name.  Rows of one name are told apart by the defender's settings
    in which they differ, spots of one attack by all others.  A key that a record is too old to have stands at the
    default that the other records tell.
    """
    groups, repeated = _groups(labelled, _defaults(record for _, record in labelled))
    members: dict[tuple[str, str, Pairs], list[_Group]] = {}
    for group in groups:
        members.setdefault(group.faced, []).append(group)
    datasets = {dataset for _, dataset, _ in members}
    spots = []
    for (attack, dataset, settings), within in members.items():
        twins = [other for of, on, other in members if (of, on) == (attack, dataset) and other != settings]
        rows = tuple(
            Row(
                label=_told_apart(group.name, group.own, [one.own for one in groups if one.name == group.name]),
                runs=tuple(group.runs),
            )
            for group in within
        )
        heading = _told_apart(attack, settings, twins)
        spots.append(Spot(rows, {"dataset": dataset} if len(datasets) > 1 else {}, heading, heading))
    return spots, repeated


def swept(spots: Sequence[Spot], key: str) -> list[SweptRow]:
    """Rows with a number for ``key``, by the lines that they make: all that differs but that setting and the seed."""
    found = []
    defaults = _defaults(run for spot in spots for row in spot.rows for run in row.runs)
    lines: dict[tuple[str, str, Pairs], str] = {}
    for spot in spots:
        for row in spot.rows:
            first = row.runs[0]
            value = first.config.get(key)
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            rest = frozenset(pair for pair in _settings(first, defaults) if pair[0] not in (key, "strategy"))
            name = row.label.partition(f" ({key} = ")[0]
            same = [line for (named, attack, _), line in lines.items() if (named, attack) == (name, first.run.attack)]
            line = f"{name} ({first.run.attack})" + (f" {len(same) + 1}" if same else "")
            found.append(SweptRow(lines.setdefault((name, first.run.attack, rest), line), float(value), row))
    return found


def apart_from_most(settings: Mapping[str, Settings]) -> dict[str, str]:
    """Labels whose settings (those of the defence aside) aren't what most labels have -> the settings that differ."""
    faced = {label: frozenset(p for p in own.items() if not is_defence(p[0])) for label, own in settings.items()}
    groups = list(faced.values())
    usual = max(groups, key=groups.count, default=frozenset())
    return {
        label: _named(dict(own), sorted({key for key, _ in own ^ usual}))
        for label, own in faced.items()
        if own != usual
    }


def _groups(labelled: Sequence[tuple[str, RecordedRun]], defaults: Settings) -> tuple[list[_Group], int]:
    groups: dict[tuple[str, str, Pairs], _Group] = {}
    repeated = 0
    for label, record in labelled:
        name, run = label or record.run.strategy, record.run
        settings = _settings(record, defaults)
        group = groups.setdefault((name, run.attack, settings), _Group(name, run.attack, run.dataset, settings, []))
        if any(other.run.seed == run.seed for other in group.runs):
            repeated += 1
        else:
            group.runs.append(record)
    return list(groups.values()), repeated


def _defaults(records: Iterable[RecordedRun]) -> Settings:
    """What keys stand at that a record is too old to have."""
    return {key: value for record in records for key, value in record.defaults.items()}


def _settings(record: RecordedRun, defaults: Settings) -> Pairs:
    before = {key: value for key, value in BEFORE.items() if key.split(".")[1] == record.run.rule}
    settings = as_before({**defaults, **before, **record.config})
    return frozenset((k, v) for k, v in settings.items() if has_effect(k, settings) and k != "run.seed")


def _told_apart(name: str, settings: Pairs, twins: Sequence[Pairs]) -> str:
    """The name, with the settings in which others of that name differ."""
    keys = sorted({key for other in twins for key, _ in settings ^ other})
    return f"{name} ({_named(dict(settings), keys)})" if keys else name


def _named(settings: Settings, keys: Sequence[str]) -> str:
    shown = [f"{key} = {value_text(settings[key]) if key in settings else 'unset'}" for key in keys]
    return first_of(shown, NAMED_DIFFERENCES, ", ")
