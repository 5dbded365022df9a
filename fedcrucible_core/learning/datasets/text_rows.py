"""A table of texts and labels to a published set."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.datasets.base import PublishedData, Reading
from fedcrucible_core.learning.datasets.class_folders import refuse_look_alikes
from fedcrucible_core.learning.datasets.csv_listing import split_of_rows
from fedcrucible_core.learning.datasets.csv_rows import IMAGE_NAMES, LABEL_NAMES, Rows, choose_column
from fedcrucible_core.learning.datasets.labels import number_labels
from fedcrucible_core.learning.datasets.listing import KEY, SPLITS, check_labels
from fedcrucible_core.learning.datasets.skipped import Skipped
from fedcrucible_core.learning.datasets.texts import TEXT_NAMES, published_texts, text_info, texts_asked


def holds_texts(header: Sequence[str], reading: Reading) -> bool:
    """Whether a table's inputs are texts rather than pictures: as ``reading`` says, else by its columns' names.

    Raises:
        ConfigError: columns of both are asked for.
    """
    asked = texts_asked(reading)
    if asked is not None:
        return asked
    names = {name.lower().replace(" ", "_") for name in header}
    return names.isdisjoint(IMAGE_NAMES) and not names.isdisjoint(TEXT_NAMES)


def read_texts(table: Rows, name: str, reading: Reading) -> PublishedData:
    """The texts of a table, as the data set ``name``.

    A column ``split`` shares rows out to train, validation and test; without it all are training texts.  Rows without a
    text are left out with a note.

    Raises:
        ConfigError: a column that can't be used, labels that look alike, a class without training texts.
    """
    text = choose_column(table.header, reading.text_column, TEXT_NAMES, "task.text_column")
    label = choose_column(table.header, reading.label_column, LABEL_NAMES, "task.label_column")
    if text == label:
        raise ConfigError("task.label_column", label, "is the column of texts as well")
    splits, texts, cells = split_of_rows(table, (text, label)), table.column(text), table.column(label)
    place = str(table.file)
    refuse_look_alikes([cell for cell in cells if cell], "the labels", KEY, place)
    classes, numbered = number_labels({"all": cells}, KEY, place)
    skipped = Skipped(noun="row")
    kept: dict[str, list[int]] = {split: [] for split in SPLITS if split in splits}
    for row, split in enumerate(splits):
        if texts[row]:
            kept[split].append(row)
        else:
            skipped.add("no text", f"row {row + 1}")
    labels = {split: torch.from_numpy(numbered["all"][rows]) for split, rows in kept.items()}
    lists = {split: found.tolist() for split, found in labels.items()}
    notes = (*check_labels(lists, classes, skipped, place, "text"), *skipped.notes())
    return published_texts(
        text_info(name, tuple(cell.replace("_", " ").strip() or cell for cell in classes), reading),
        {split: [texts[row] for row in rows] for split, rows in kept.items()},
        labels,
        rows={split: torch.tensor(rows, dtype=torch.int64) for split, rows in kept.items()},
        notes=notes,
    )
