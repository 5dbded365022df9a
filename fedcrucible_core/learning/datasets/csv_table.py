"""A CSV file of paths and labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from fedcrucible_core.learning.datasets.base import DATASETS, READ_AS_IT_IS, PublishedData, Reading, no_such_column
from fedcrucible_core.learning.datasets.csv_listing import list_csv
from fedcrucible_core.learning.datasets.csv_rows import csv_file, read_rows
from fedcrucible_core.learning.datasets.own import OwnData


@DATASETS.register("csv")
class PictureTable(OwnData):
    """Own pictures named by a CSV file with a column of paths and one of labels.

    The file is ``task.data_dir`` or lies in it as ``labels.csv`` or the only CSV file; ``task.dataset="csv:PLACE"``
    names it within the data folder.  Separators are comma, semicolon, tab or bar.  ``task.image_column`` and
    ``task.label_column`` choose columns where several have usual names.  A column ``split`` says train, val or test;
    without it a share is set aside (``task.test_fraction``).  Paths are relative to the CSV's folder; absolute ones and
    ``..`` are followed, so use files that you trust.  Any other column can part the data (``by-column``).
    """

    paper = "no publication: a table of paths and labels"
    holds: ClassVar[str] = "a CSV file of paths and labels, or a folder with labels.csv or one CSV file"
    has_columns: ClassVar[bool] = True

    def read(self, root: Path, reading: Reading = READ_AS_IT_IS) -> PublishedData:
        """Read all pictures. Raises ConfigError for a table that can't be used, naming the file and the line."""
        file = csv_file(self.at(root))
        return self.of_files(list_csv(read_rows(file), reading.image_column, reading.label_column), reading, file)

    def ids(self, root: Path, column: str) -> Sequence[object]:
        """What ``column`` says in each row of the table; ``Labeled.rows`` are its rows, of every split."""
        table = read_rows(csv_file(self.at(root)))
        if column not in table.header:
            raise no_such_column(self.full_name, column, table.header)
        return table.column(column)
