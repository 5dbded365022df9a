"""A file of JSON lines, a text and a label each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from fedcrucible_core.learning.datasets.base import DATASETS, READ_AS_IT_IS, PublishedData, Reading, no_such_column
from fedcrucible_core.learning.datasets.json_rows import json_file, read_json_rows
from fedcrucible_core.learning.datasets.own import OwnData
from fedcrucible_core.learning.datasets.text_rows import read_texts


@DATASETS.register("jsonl")
class JsonLines(OwnData):
    """Own texts in a file of JSON lines, ``{"text": "...", "label": "..."}`` each.

    The file is ``task.data_dir`` or lies in it as ``texts.jsonl`` or the only .jsonl or .ndjson file;
    ``task.dataset="jsonl:PLACE"`` names it within the data folder.  ``task.text_column`` and ``task.label_column``
    choose keys where none or several have usual names.  A key ``split`` says train, val or test; without it a share is
    set aside (``task.test_fraction``).  Any other key can part the data (``by-column``).
    """

    paper = "no publication: one JSON object a line"
    choices = ("text-lengths", "reserved-tokens")
    holds: ClassVar[str] = "a file of JSON lines, or a folder with texts.jsonl or one such file"
    has_columns: ClassVar[bool] = True

    def read(self, root: Path, reading: Reading = READ_AS_IT_IS) -> PublishedData:
        """Read all texts. Raises ConfigError for a file that can't be used, naming it and the line."""
        return read_texts(read_json_rows(json_file(self.at(root))), self.full_name, reading)

    def ids(self, root: Path, column: str) -> Sequence[object]:
        """What the key ``column`` says in each line; ``Labeled.rows`` are the lines that aren't blank."""
        table = read_json_rows(json_file(self.at(root)))
        if column not in table.header:
            raise no_such_column(self.full_name, column, table.header)
        return table.column(column)
