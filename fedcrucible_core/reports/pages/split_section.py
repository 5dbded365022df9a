"""The split of a suspicious set on a run's page: counts, the map in words, the most suspicious samples."""

from __future__ import annotations

from dataclasses import dataclass

from fedcrucible_core.records.reader import RecordedRun
from fedcrucible_core.records.schema import RunDescription
from fedcrucible_core.records.split_table import PARTS, RecordedSplit, SplitRow, Suspect
from fedcrucible_core.reports.charts.entropy_map import drawn
from fedcrucible_core.reports.charts.examples import png_address
from fedcrucible_core.reports.pages.synthetic_data import ShownSample

MISSING = "-"
SHOWN_NAME = 60
"""Characters of a file's name."""


@dataclass(frozen=True)
class PartRow:
    """One line of the table of parts."""

    part: str
    count: str
    poisoned: str
    guide: str
    """Median rank."""
    model: str


def part_rows(split: RecordedSplit) -> list[PartRow]:
    """Samples by part; those left out where there are any."""
    rows = []
    for part in PARTS:
        own = [row for row in split.rows if row.part == part]
        if not own and part == "left out":
            continue
        known = [row.poisoned for row in own if row.poisoned is not None]
        rows.append(
            PartRow(
                part, f"{len(own):,}", f"{sum(known):,}" if known else MISSING,
                _median([row.rank_guide for row in own]), _median([row.rank_model for row in own]),
            )
        )  # fmt: skip
    return rows


def truth_known(split: RecordedSplit) -> bool:
    """Whether the record says of any sample that it is poisoned or not."""
    return any(row.poisoned is not None for row in split.rows)


def suspect_samples(record: RecordedRun, split: RecordedSplit) -> list[ShownSample]:
    """The most suspicious samples with picture, given class, ranks."""
    return [_shown(record.run, one) for one in split.facts.suspects]


def suspect_rows(split: RecordedSplit) -> list[tuple[str, ...]]:
    """The same in figures: place, given class, scores in nats, ranks, truth."""
    return [_figures(one.sample) for one in split.facts.suspects]


def _figures(row: SplitRow) -> tuple[str, ...]:
    numbers = (row.s_guide, row.s_model, row.rank_guide, row.rank_model)
    truth = MISSING if row.poisoned is None else "poisoned" if row.poisoned else "clean"
    return (place_of(row), row.class_name or MISSING, *map(_number, numbers), truth)


def place_of(row: SplitRow) -> str:
    """Its file, or its row."""
    if row.file:
        return row.file if len(row.file) <= SHOWN_NAME else f"...{row.file[-SHOWN_NAME:]}"
    return "added by the attack" if row.row is None else f"row {row.row}"


def caption(split: RecordedSplit, inputs: str) -> str:
    """How to read the map."""
    count = sum(row.part != "left out" for row in split.rows)
    shown = drawn(split)
    part = f" An even choice of {shown:,} of {count:,} {inputs} is drawn." if shown < count else ""
    lines = " Dashed: where clean ends; dotted: where triggered begins." if "s_guide" in split.facts.thresholds else (
        " The line: left of it models learn too fast." if split.facts.thresholds else ""
    )  # fmt: skip
    return (
        f"Ranks are shares of all {count:,} {inputs}: top, the given label surprises the guide; left, freshly trained "
        f"models learn it first.{lines}{part}"
    )


def _shown(run: RunDescription, one: Suspect) -> ShownSample:
    row = one.sample
    badges = ["poisoned"] if row.poisoned else []
    ranks = (("guide", row.rank_guide), ("model", row.rank_model))
    badges += [f"{name} rank {rank:.2f}" for name, rank in ranks if rank is not None]
    source = "" if one.picture is None else png_address(one.picture.array)
    label = row.class_name or ("no label" if row.label is None or row.label < 0 else run.class_names[row.label])
    return ShownSample(source, one.text, f"{label}, {place_of(row)}", tuple(badges), bool(row.poisoned))


def _median(values: list[float | None]) -> str:
    known = sorted(value for value in values if value is not None)
    return _number(known[len(known) // 2]) if known else MISSING


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3f}"
