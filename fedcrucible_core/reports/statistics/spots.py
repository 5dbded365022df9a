"""A spot: everything that faced the same attack on the same data. Tables, charts and pages show rows in spots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from fedcrucible_core.config.values import Scalar, value_text
from fedcrucible_core.reports.statistics.rows import Row, notes_of
from fedcrucible_core.reports.statistics.standing import MARGIN_POINTS, Best, Standing, standing

NOTED_PLACES = 6
"""Rows that are named for one note."""


@dataclass(frozen=True)
class Spot:
    """Rows that are compared with one another."""

    rows: tuple[Row, ...]
    block: Mapping[str, Scalar] = field(default_factory=dict)
    """Values of the axes that make tables of their own."""
    column: Scalar | None = None
    """Value of the axis that makes a table's columns; None where there is none."""
    heading: str = ""
    """The column's heading."""
    margin: float = MARGIN_POINTS
    """The best ASR is sought among rows that give up at most this many points of the best MA."""
    apart: Mapping[str, str] = field(default_factory=dict)
    """Labels of controls that faced something else, with the settings that say so."""

    @cached_property
    def standing(self) -> Standing:
        """Who does best, who isn't compared, whether the attack is weak."""
        return standing(self.rows, self.margin, self.apart)

    @property
    def best(self) -> Best:
        """Labels to mark."""
        return self.standing.best

    @property
    def weak(self) -> bool | None:
        """Whether the attack fails undefended; None where that isn't known."""
        return self.standing.weak

    @property
    def attacked(self) -> bool:
        """Whether anybody attacked in any of its runs."""
        return self.standing.attacked

    def aside(self, row: Row) -> str:
        """Why a row isn't compared with the others; empty where it is."""
        return self.standing.left_out.get(row.label, "")

    def badge(self, row: Row) -> str:
        """The same in a word or two."""
        return self.standing.badges.get(row.label, "")

    def row(self, label: str) -> Row | None:
        """The row of this label, if there is one."""
        return next((row for row in self.rows if row.label == label), None)

    @property
    def block_title(self) -> str:
        """What the table holds; empty where there is but one."""
        return ", ".join(f"{name} {value_text(value)}" for name, value in self.block.items())

    @property
    def title(self) -> str:
        """What its rows faced, in words; empty where there is but one spot."""
        return ", ".join(part for part in (self.block_title, self.heading) if part)


def blocks_of(spots: Sequence[Spot]) -> Iterator[list[Spot]]:
    """Spots that share a table."""
    groups: dict[tuple[object, ...], list[Spot]] = {}
    for spot in spots:
        groups.setdefault(tuple(spot.block.items()), []).append(spot)
    yield from groups.values()


def labels_of(spots: Sequence[Spot]) -> list[str]:
    """Labels of all rows, in the order of their first."""
    return list(dict.fromkeys(row.label for spot in spots for row in spot.rows))


def notes_by_place(spots: Sequence[Spot]) -> list[str]:
    """What a reader of single runs must know, with the rows that it holds for."""
    places: dict[str, list[str]] = {}
    for spot in spots:
        for row in spot.rows:
            name = ", ".join(part for part in (spot.title, row.label) if part)
            for note, seeds in notes_of(row.runs).items():
                some = "" if len(seeds) == len(row.runs) else f" (seed {', '.join(map(str, seeds))})"
                places.setdefault(note, []).append(name + some)
    return [f"{note}: {first_of(named, NOTED_PLACES)}" for note, named in places.items()]


def first_of(names: Sequence[str], most: int, between: str = "; ") -> str:
    """The first names in one line, and how many more there are."""
    more = f"{between}and {len(names) - most} more" if len(names) > most else ""
    return between.join(names[:most]) + more
