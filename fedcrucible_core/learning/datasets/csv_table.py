"""A CSV file of paths or texts, and labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from fedcrucible_core.learning.datasets.base import DATASETS, READ_AS_IT_IS, PublishedData, Reading, no_such_column
from fedcrucible_core.learning.datasets.csv_listing import list_csv
from fedcrucible_core.learning.datasets.csv_rows import IMAGE_NAMES, choose_column, csv_file, read_rows
from fedcrucible_core.learning.datasets.own import OwnData
from fedcrucible_core.learning.datasets.text_rows import holds_texts, read_texts


@DATASETS.register("csv")
class OwnTable(OwnData):
    """Own pictures or texts in a CSV file with a column of paths or texts and one of labels.

    The file is ``task.data_dir`` or lies in it as ``labels.csv`` or the only CSV file; ``task.dataset="csv:PLACE"``
    names it within the data folder.  Separators are comma, semicolon, tab or bar.  ``task.image_column``,
    ``task.text_column`` and ``task.label_column`` choose columns where several have usual names; inputs are texts where
    a text column is chosen, or one has a usual name and none has one of paths.  A column ``split`` says train, val or
    test; without it a share is set aside (``task.test_fraction``).  Paths are relative to the CSV's folder; absolute
    ones and ``..`` are followed, so use files that you trust.  Any other column can part the data (``by-column``).
    """

    paper = "no publication: a table of paths or texts, and labels"
    holds: ClassVar[str] = "a CSV file of paths or texts and labels, or a folder with labels.csv or one CSV file"
    has_columns: ClassVar[bool] = True

    def read(self, root: Path, reading: Reading = READ_AS_IT_IS) -> PublishedData:
        """Read all inputs. Raises ConfigError for a table that can't be used, naming the file and the line."""
        file = csv_file(self.at(root))
        table = read_rows(file)
        if holds_texts(table.header, reading):
            return read_texts(table, self.full_name, reading)
        return self.of_files(list_csv(table, reading.image_column, reading.label_column), reading, file)

    def ids(self, root: Path, column: str) -> Sequence[object]:
        """What ``column`` says in each row of the table; ``Labeled.rows`` are its rows, of every split."""
        table = read_rows(csv_file(self.at(root)))
        if column not in table.header:
            raise no_such_column(self.full_name, column, table.header)
        return table.column(column)

    def names(self, root: Path, reading: Reading = READ_AS_IT_IS) -> Sequence[str]:
        """What the column of paths says in each row; none of texts."""
        table = read_rows(csv_file(self.at(root)))
        if holds_texts(table.header, reading):
            return ()
        return table.column(choose_column(table.header, reading.image_column, IMAGE_NAMES, "task.image_column"))
