"""Runs of a comparison page as cells, and cells by what they faced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedcrucible_core.config.load import has_effect
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records.reader import RecordedRun
from fedcrucible_core.reports.statistics.cells import Cell

DEFENCE = ("strategy", "defense.", "purifier.", "synthetic.", "guide.")
"""Keys in which cells that faced the same attack on the same data may differ."""
Settings = frozenset[tuple[str, Scalar]]
Faced = tuple[str, str, Settings]
"""Attack, data set, and all settings but the defence's."""
NAMED_DIFFERENCES = 3
"""Settings that tell two cells of one label apart are named in the label, so many of them."""


@dataclass(frozen=True, kw_only=True)
class Group(Cell):
    """Runs that differ in their seed only; where cells would share a label, it has the settings that differ."""

    attack: str
    sweep_value: Scalar | None
    faced: Faced
    """All that isn't the defence's: cells that share it faced the same attack on the same data."""

    @property
    def title(self) -> str:
        """Label with the swept value, where there is one."""
        return self.label if self.sweep_value is None else f"{self.label}, {self.sweep_value}"


def grouped(labelled: Sequence[tuple[str, RecordedRun]], sweep: str) -> tuple[list[Group], int]:
    """Cells in the order of their first run, and how many runs were left out because their seed was there already."""
    cells: dict[tuple[str, str, Settings], list[RecordedRun]] = {}
    repeated = 0
    for label, record in labelled:
        name = label or record.run.strategy
        runs = cells.setdefault((name, record.run.attack, _settings(record)), [])
        if any(run.run.seed == record.run.seed for run in runs):
            repeated += 1
        else:
            runs.append(record)
    groups = []
    for (name, attack, settings), runs in cells.items():
        value = runs[0].config.get(sweep) if sweep else None
        twins = [
            other
            for (label, under, other), (first, *_) in cells.items()
            if (label, under) == (name, attack)
            and other != settings
            and (not sweep or first.config.get(sweep) == value)
        ]
        groups.append(
            Group(
                label=_told_apart(name, settings, twins),
                runs=tuple(runs),
                attack=attack,
                sweep_value=value,
                faced=(attack, runs[0].run.dataset, _without_defence(settings)),
            )
        )
    return groups, repeated


def spots_of(groups: Sequence[Group]) -> list[list[Group]]:
    """Groups that faced the same, in the order of their first."""
    spots: dict[Faced, list[Group]] = {}
    for group in groups:
        spots.setdefault(group.faced, []).append(group)
    return list(spots.values())


def _without_defence(settings: Settings) -> Settings:
    return frozenset((key, value) for key, value in settings if not key.startswith(DEFENCE))


def _settings(record: RecordedRun) -> Settings:
    settings = record.config
    return frozenset((k, v) for k, v in settings.items() if has_effect(k, settings) and k != "run.seed")


def _told_apart(name: str, settings: Settings, twins: Sequence[Settings]) -> str:
    """The name, with the settings in which other cells of that name differ."""
    mine = dict(settings)
    keys = sorted({key for other in twins for key, _ in settings ^ other})
    if not keys:
        return name
    named = [f"{key} = {mine.get(key, 'unset')}" for key in keys[:NAMED_DIFFERENCES]]
    more = f", and {len(keys) - NAMED_DIFFERENCES} more" if len(keys) > NAMED_DIFFERENCES else ""
    return f"{name} ({', '.join(named)}{more})"
