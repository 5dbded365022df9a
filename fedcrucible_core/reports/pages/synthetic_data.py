"""The server's synthetic data on a run's page: how much of it was poisoned, what was caught, and some of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedcrucible_core.records.numbers import Number, numbers_of
from fedcrucible_core.records.reader import RecordedRun, read_synthetic
from fedcrucible_core.records.schema import (
    ClientSanitizerSummary,
    PrototypesSummary,
    Record,
    RunDescription,
    SanitizerSummary,
)
from fedcrucible_core.records.synthetic import SyntheticExample, SyntheticExamples
from fedcrucible_core.reports.charts.curves import class_name
from fedcrucible_core.reports.charts.examples import png_address
from fedcrucible_core.reports.statistics.spots import Spot, first_of

UNKNOWN_CLASS = "no label"
MOST_STRIPS, MOST_NAMED = 6, 4
"""Sets of samples on a page of many runs, and rows that are named for one."""


@dataclass(frozen=True)
class ShownSample:
    """A sample, with what is said below it."""

    source: str
    """Data address of its picture; empty for a text."""
    text: str
    label: str
    badges: tuple[str, ...]
    """The truth first, then what the sanitizer did."""
    poisoned: bool

    @property
    def alt(self) -> str:
        """For screen readers."""
        return ", ".join(["synthetic sample", self.label, *self.badges])


@dataclass(frozen=True)
class Strip:
    """Samples of one run among several."""

    title: str
    note: str
    samples: tuple[ShownSample, ...]


def samples(record: RecordedRun) -> list[ShownSample]:
    """The recorded samples in their order."""
    return _samples(record.run, record.synthetic)


def _samples(run: RunDescription, stored: SyntheticExamples) -> list[ShownSample]:
    return [_shown(run, one, stored.sanitized) for one in stored.examples]


def synthetic_strips(spots: Sequence[Spot]) -> list[Strip]:
    """The samples of the first run of each row that kept any; rows whose samples are the same share a strip."""
    found: dict[SyntheticExamples, list[tuple[str, RecordedRun]]] = {}
    for spot in spots:
        for row in spot.rows:
            stored = next(((s, run) for run in row.runs if (s := read_synthetic(run.folder)).examples), None)
            if stored is not None:
                name = ", ".join(part for part in (spot.title, row.label) if part)
                found.setdefault(stored[0], []).append((name, stored[1]))
    strips = []
    for stored_set, owners in list(found.items())[:MOST_STRIPS]:
        shown = tuple(_samples(owners[0][1].run, stored_set))
        strips.append(Strip(first_of([name for name, _ in owners], MOST_NAMED), counted(shown), shown))
    return strips


def facts(record: RecordedRun) -> list[tuple[str, str]]:
    """Counts and shares, in words; none where nothing was counted."""
    rows: list[tuple[str, str]] = []
    for kind, part in ((SanitizerSummary, record.summary.sanitizer), (PrototypesSummary, record.summary.prototypes)):
        rows += [] if part is None else _rows(kind, part)
    return rows


def client_facts(record: RecordedRun) -> list[tuple[str, str]]:
    """What honest clients did to their own data, in words; none where they did nothing."""
    part = record.summary.client_sanitizer
    return [] if part is None else _rows(ClientSanitizerSummary, part)


def _rows(kind: type[Record], part: Record) -> list[tuple[str, str]]:
    values = [(number, getattr(part, field)) for field, number in numbers_of(kind).items()]
    return [(_title(number), _text(number, value)) for number, value in values if value is not None]


def _title(number: Number) -> str:
    return f"{number.title} ({number.meaning})" if number.meaning else number.title


def _text(number: Number, value: float) -> str:
    return f"{value:.1f} % {number.of}".rstrip() if number.unit == "%" else f"{value:,.0f}"


def _shown(run: RunDescription, one: SyntheticExample, sanitized: bool) -> ShownSample:
    label = _class(run, one.label)
    badges = ["poisoned"] if one.poisoned else []
    if sanitized:
        badges.append(_fate(run, one))
    source = "" if one.picture is None else png_address(one.picture.array)
    return ShownSample(source, one.text, label, tuple(badges), bool(one.poisoned))


def _fate(run: RunDescription, one: SyntheticExample) -> str:
    if one.fate == "relabelled" and one.used_as is not None:
        return f"relabelled as {_class(run, one.used_as)}"
    return one.fate


def _class(run: RunDescription, label: int) -> str:
    return UNKNOWN_CLASS if label < 0 else class_name(run, label)


def counted(shown: Sequence[ShownSample]) -> str:
    """What the strip holds, in a sentence; empty where it holds nothing."""
    if not shown:
        return ""
    bad = sum(one.poisoned for one in shown)
    kind = "Pictures" if any(one.source for one in shown) else "Texts"
    return (
        f"{kind} as the server got them, with the class each came with. {bad} of the {len(shown)} shown are poisoned."
    )
