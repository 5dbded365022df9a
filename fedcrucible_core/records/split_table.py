"""What a splitter made of a suspicious set: a row a sample in split.csv, and the most suspicious ones for the page."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedcrucible_core.config.atomic_file import write_atomic
from fedcrucible_core.records import files
from fedcrucible_core.records.schema import Line, Record
from fedcrucible_core.records.synthetic import StoredPicture

Part = Literal["clean", "triggered", "mixed", "left out"]
PARTS: tuple[Part, ...] = ("clean", "triggered", "mixed", "left out")
COLUMNS = (
    "row", "file", "label", "class", "part", "s_guide", "s_model", "rank_guide", "rank_model", "poisoned", "reason",
)  # fmt: skip
"""Of split.csv, in this order; a cell is empty where nothing is known."""
FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
"""What a cell of text must not begin with: spreadsheets would compute it."""


class SplitRow(Record):
    """One sample, or one file that is no part of the set."""

    row: int | None = None
    """Of the published set (a table's row, a folder's file by order, an array's place); None = an attack added it."""
    file: Line = ""
    label: int | None = None
    """As given; -1 = none."""
    class_name: Line = ""
    part: Part
    s_guide: float | None = None
    """-log p(label) of the guide, in nats; None = it wasn't asked."""
    s_model: float | None = None
    """-log p(label) of the models, in nats."""
    rank_guide: float | None = Field(None, ge=0.0, le=1.0)
    """Percentile rank (fraction) of s_guide among all samples: 1 = the label that surprises the guide most."""
    rank_model: float | None = Field(None, ge=0.0, le=1.0)
    """The same of s_model: near 0 = learned first."""
    poisoned: bool | None = None
    """The truth, for readers alone; None = nobody can say."""
    reason: Line = ""
    """Why a file was left out."""

    @property
    def suspicion(self) -> float:
        """How far to the upper left of the map, 0 to 1: the mean of guide rank and 1 - model rank, of those known."""
        fast = None if self.rank_model is None else 1.0 - self.rank_model
        known = [rank for rank in (self.rank_guide, fast) if rank is not None]
        return sum(known) / len(known) if known else 0.0


class Suspect(Record):
    """One of the most suspicious samples."""

    sample: SplitRow
    picture: StoredPicture | None = None
    text: Line = ""


class SplitFacts(BaseModel):
    """The content of split.json: by what the set was split, and some of it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    splitter: str = ""
    thresholds: Mapping[str, tuple[float, ...]] = Field(default_factory=dict)
    """Score (``s_guide``, ``s_model``) -> ranks at which parts end."""
    suspects: tuple[Suspect, ...] = ()


class RecordedSplit(BaseModel):
    """Both files."""

    model_config = ConfigDict(frozen=True)

    facts: SplitFacts
    rows: tuple[SplitRow, ...]

    def counted(self, part: Part) -> int:
        """Rows of a part."""
        return sum(row.part == part for row in self.rows)


def write_split(folder: Path, facts: SplitFacts, rows: Iterable[SplitRow]) -> None:
    """Write split.csv, then split.json."""
    stream = io.StringIO(newline="")
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows(_cells(row) for row in rows)
    write_atomic(folder / files.SPLIT, stream.getvalue().encode())
    write_atomic(folder / files.SPLIT_FACTS, (facts.model_dump_json(indent=1) + "\n").encode())


def read_split(folder: Path) -> RecordedSplit | None:
    """What a record holds; None where nothing was split.

    Raises ValueError that names the file, and the line where there is one, for what isn't what was written.
    """
    path = folder / files.SPLIT
    if not path.is_file():
        return None
    try:
        table = csv.reader(io.StringIO(path.read_text("utf-8"), newline=""))
        header = tuple(next(table, ()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} can't be read: {error}") from error
    if header != COLUMNS:
        raise ValueError(f"{path} is damaged: its columns aren't {', '.join(COLUMNS)}")
    rows = []
    try:
        for cells in table:
            rows.append(_row(cells))
    except (ValidationError, ValueError, csv.Error) as error:
        raise ValueError(f"{path}, line {table.line_num} is damaged") from error
    return RecordedSplit(facts=_facts(folder / files.SPLIT_FACTS), rows=tuple(rows))


def _facts(path: Path) -> SplitFacts:
    if not path.is_file():
        return SplitFacts()
    try:
        return SplitFacts.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ValueError(f"{path} is damaged") from error


def most_suspicious(rows: Sequence[SplitRow], most: int) -> list[int]:
    """Places in ``rows`` of the most suspicious triggered samples, worst first, those of equal suspicion in order."""
    flagged = [place for place, row in enumerate(rows) if row.part == "triggered"]
    return sorted(flagged, key=lambda place: -rows[place].suspicion)[:most]


def as_mapping(row: SplitRow) -> dict[str, object]:
    """A row by the columns of split.csv."""
    values = row.model_dump()
    values["class"] = values.pop("class_name")
    return {name: values[name] for name in COLUMNS}


def _cells(row: SplitRow) -> list[str]:
    return [_cell(value) for value in as_mapping(row).values()]


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA) else value
    return repr(value)


def _row(cells: Sequence[str]) -> SplitRow:
    named: dict[str, object] = dict(zip(COLUMNS, cells, strict=True))
    for name in ("file", "class", "reason"):
        named[name] = str(named[name]).removeprefix("'")
    known = {("class_name" if name == "class" else name): cell for name, cell in named.items() if cell != ""}
    return SplitRow.model_validate(known)
