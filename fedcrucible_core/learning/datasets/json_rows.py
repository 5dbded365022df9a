"""JSON lines as a table of text."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.learning.datasets.csv_rows import Rows, bad_table, table_file, table_text
from fedcrucible_core.learning.datasets.listing import MOST_PICTURES

SUFFIXES = (".jsonl", ".ndjson")
PREFERRED_FILE = "texts.jsonl"


def json_file(place: Path) -> Path:
    """The file at ``place``, or in a folder ``texts.jsonl`` or the only .jsonl or .ndjson in it. Raises ConfigError."""
    return table_file(place, "JSON lines", SUFFIXES, PREFERRED_FILE)


def read_json_rows(file: Path) -> Rows:
    """A file of one JSON object a line; blank lines are left out, and what a line doesn't say is empty.

    Texts stand as they are, without blanks around them; whole numbers, true and false as JSON writes them; null is
    empty.  Keys that hold lists or objects anywhere are no columns.

    Raises:
        ConfigError: unreadable, a line that is no JSON object (it is named), fewer than two columns, no line at all.
    """
    found: list[dict[str, Any]] = []
    for number, line in enumerate(table_text(file).split("\n"), start=1):
        if line.strip():
            found.append(_object(line, file, number))
        if len(found) > MOST_PICTURES:
            raise bad_table(file, f"has more than {MOST_PICTURES:,} lines")
    if not found:
        raise bad_table(file, "has no line")
    columns = dict.fromkeys(key for entry in found for key in entry)
    nested = {key for entry in found for key, value in entry.items() if isinstance(value, (list, dict))}
    header = tuple(key for key in columns if key not in nested)
    if len(header) < 2:
        raise bad_table(file, 'needs a text and a label in each line, e.g. {"text": "...", "label": "..."}')
    return Rows(file, header, tuple(tuple(_cell(entry.get(key)) for key in header) for entry in found))


def _object(line: str, file: Path, number: int) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise bad_table(file, f"line {number} is no JSON ({plain_text(error, 100)})") from error
    if not isinstance(entry, dict):
        raise bad_table(file, f"line {number} is no JSON object")
    return entry


def _cell(value: object) -> str:
    if isinstance(value, str):
        return value.encode(errors="replace").decode().strip()  # halves of characters, which JSON can hold, are no text
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value)
