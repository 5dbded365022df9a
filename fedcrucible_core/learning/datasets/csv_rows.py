"""A table as text: encoding, separator, header, columns."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.errors import did_you_mean
from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.learning.datasets.listing import KEY, MOST_PICTURES, shown

SEPARATORS = (",", ";", "\t", "|")
SEPARATOR_LINE = re.compile(r"[\n]*\"?sep=([,;\t|])\"?[,;\t|]*\n", re.IGNORECASE)
SUFFIXES = (".csv", ".tsv")
PREFERRED_FILE = "labels.csv"
LONGEST_CELL = 1_000_000
IMAGE_NAMES = (
    "path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "image_file", "img",
    "picture",
)  # fmt: skip
LABEL_NAMES = ("label", "labels", "class", "class_name", "target", "category", "diagnosis")
SPLIT_NAME = "split"


@dataclass(frozen=True)
class Rows:
    """A table; every cell is text without blanks around it."""

    file: Path
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def column(self, name: str) -> list[str]:
        """All cells of one column."""
        place = self.header.index(name)
        return [row[place] for row in self.rows]


def csv_file(place: Path) -> Path:
    """The table at ``place``: that file, or in a folder ``labels.csv`` or the only .csv or .tsv in it.

    Raises:
        ConfigError: there is none, or there are several.
    """
    return table_file(place, "CSV", SUFFIXES, PREFERRED_FILE)


def table_file(place: Path, kind: str, suffixes: Sequence[str], preferred_name: str) -> Path:
    """The file at ``place``, or in a folder the one of the preferred name or the only one with one of ``suffixes``.

    Raises:
        ConfigError: there is none, or there are several.
    """
    if place.is_file():
        return place
    if not place.is_dir():
        raise ConfigError(
            KEY, str(place), f"no such file or folder; allowed: a {kind} file, or a folder that holds one"
        )
    found = sorted(p for p in place.iterdir() if p.suffix.lower() in suffixes and not p.name.startswith("."))
    preferred = [path for path in found if path.name.lower() == preferred_name]
    if len(preferred or found) != 1:
        here = f"several {kind} files ({shown([p.name for p in found])})" if found else f"no {kind} file"
        raise ConfigError(KEY, str(place), f"holds {here}; name one: a file, or {preferred_name} in that folder")
    return (preferred or found)[0]


def read_rows(file: Path) -> Rows:
    """A table with a header, separated by comma, semicolon, tab or bar (the one that gives the header most columns).

    UTF-8, or UTF-16 with a byte-order mark.  Blank lines are left out, and so is a spreadsheet's first line ``sep=;``.
    Columns without a name, which spreadsheets leave at the right, may be several.

    Raises:
        ConfigError: unreadable, not text, no header of at least two columns, a column named twice, or a row of
            another length; the line is named.
    """
    text = table_text(file)
    told = SEPARATOR_LINE.match(text)
    if told:  # blank, so that lines keep their numbers
        text = "\n" + text[told.end() :]
    first = text.lstrip("\r\n").split("\n", 1)[0]
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader([first])
    try:
        separator = max(SEPARATORS, key=lambda mark: len(next(csv.reader([first], delimiter=mark), [])))
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=told[1] if told else separator)
        header: tuple[str, ...] = ()
        rows = []
        for cells in reader:
            row = tuple(cell.strip() for cell in cells)
            if not any(row):
                continue
            if not header:
                header = row
            elif len(row) != len(header):
                raise bad_table(file, f"line {reader.line_num} has {len(row)} columns, the header {len(header)}")
            else:
                rows.append(row)
            if len(rows) > MOST_PICTURES:
                raise bad_table(file, f"has more than {MOST_PICTURES:,} rows")
    except csv.Error as error:
        raise bad_table(file, f"line {max(1, reader.line_num)}: {plain_text(error)}") from error
    if len(header) < 2:
        raise bad_table(
            file, "needs a header with a column of paths or texts and one of labels, separated by , ; | or tabs"
        )
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise bad_table(file, f"names the column {shown(twice)} twice")
    if not rows:
        raise bad_table(file, "has a header but no rows")
    return Rows(file, header, tuple(rows))


def choose_column(header: Sequence[str], asked: str, usual: Sequence[str], key: str, hint: str = "") -> str:
    """The column that ``key`` asks for, else the only one with a usual name; ``hint`` ends the error.

    Raises:
        ConfigError: on ``key``: no such column, or none or several with usual names.
    """
    if asked:
        if asked not in header:
            raise ConfigError(key, asked, f"{did_you_mean(asked, header)}the table has the columns {shown(header)}")
        return asked
    found = [name for name in header if name.lower().replace(" ", "_") in usual]
    if len(found) != 1:
        problem = f"{shown(found)} could each be it" if found else "no column has a usual name"
        raise ConfigError(key, asked, f"{problem}; name one of {shown(header)} (usual names: {', '.join(usual)}){hint}")
    return found[0]


def split_column(header: Sequence[str], used: Sequence[str]) -> str | None:
    """The column of splits, if there is one that isn't used for something else."""
    return next((name for name in header if name.lower() == SPLIT_NAME and name not in used), None)


def table_text(file: Path) -> str:
    """A file's text in UTF-8, or UTF-16 with a byte-order mark, every line ending in ``\\n``. Raises ConfigError."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise bad_table(file, f"can't be read ({error.strerror or type(error).__name__})") from error
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise bad_table(file, f"is no UTF-8 text (byte {error.start}); save it in UTF-8") from error
    if "\0" in text:
        raise bad_table(file, "is no text; save it in UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def bad_table(file: Path, why: str) -> ConfigError:
    """The error for a table that can't be used."""
    return ConfigError(KEY, str(file), why)
