"""A table of paths and labels to a listing of pictures."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path, PureWindowsPath

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.learning.datasets.class_folders import refuse_look_alikes
from fedcrucible_core.learning.datasets.csv_rows import IMAGE_NAMES, LABEL_NAMES, Rows, choose_column, split_column
from fedcrucible_core.learning.datasets.labels import number_labels
from fedcrucible_core.learning.datasets.listing import KEY, SPLITS, Listed, Listing, shown, split_named
from fedcrucible_core.learning.datasets.skipped import Skipped

TEXTS_HINT = "; of texts, task.text_column"
Seen = dict[Path, tuple[str, int]]


def list_csv(table: Rows, image_column: str = "", label_column: str = "") -> Listing:
    """The pictures that a table names.

    Paths are relative to the table's folder; absolute ones and ``..`` are followed, so use tables that you trust.  A
    column ``split`` shares rows out to train, validation and test; without it all are training pictures.  Classes are
    the labels of all splits in the order of :func:`number_labels`.

    Raises:
        ConfigError: a column that can't be used, labels that look alike, a picture in two splits or with two labels.
    """
    image = choose_column(table.header, image_column, IMAGE_NAMES, "task.image_column", TEXTS_HINT)
    label = choose_column(table.header, label_column, LABEL_NAMES, "task.label_column")
    if image == label:
        raise ConfigError("task.label_column", label, "is the column of paths as well")
    splits, paths, cells = split_of_rows(table, (image, label)), table.column(image), table.column(label)
    refuse_look_alikes([cell for cell in cells if cell], "the labels", KEY, str(table.file))
    classes, numbered = number_labels({"all": cells}, KEY, str(table.file))
    labels = numbered["all"].tolist()
    listing = Listing({split: [] for split in SPLITS if split in splits}, classes, Skipped())
    seen: Seen = {}
    for row, split in enumerate(splits):
        picture = _picture(paths[row], table.file.parent, listing.skipped)
        if picture is not None and not _again(picture, (split, labels[row]), seen, listing, table):
            listing.splits[split].append(Listed(picture, labels[row], row))
    return listing


def split_of_rows(table: Rows, used: tuple[str, str]) -> list[str]:
    """The split that each row belongs to: ``train`` where no column says. Raises ConfigError for unknown splits."""
    column = split_column(table.header, used)
    if column is None:
        return ["train"] * len(table.rows)
    cells = table.column(column)
    unknown = Counter(cell for cell in cells if split_named(cell) is None)
    if unknown:
        where = f"column {column!r} holds {shown([plain_text(cell) for cell in unknown])} in {unknown.total()} rows"
        raise ConfigError(KEY, str(table.file), f"{where}; allowed: train, val (validation), test")
    return [split_named(cell) or "" for cell in cells]


def _picture(text: str, folder: Path, skipped: Skipped) -> Path | None:
    """The file that a cell means, or None with a reason."""
    if not text:
        skipped.add("a row without a path", folder)
    elif "://" in text:
        skipped.add("an address, not a file (nothing is downloaded)", text)
    else:
        for written in (text, PureWindowsPath(text).as_posix()):
            path = folder / written
            if _is_file(path):
                return path
        skipped.add("missing", folder / text)
    return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long a name, a null byte
        return False


def _again(picture: Path, place: tuple[str, int], seen: Seen, listing: Listing, table: Rows) -> bool:
    """Whether the picture was listed before, in the same place; in another one it is refused."""
    key = Path(os.path.normpath(picture))
    if key not in seen:
        seen[key] = place
        return False
    (split, label), (other, other_label) = seen[key], place
    if seen[key] != place:
        names = [listing.classes[number] if number >= 0 else "" for number in (label, other_label)]
        both = f"in {split} and in {other}" if split != other else f"as {names[0]!r} and as {names[1]!r}"
        raise ConfigError(KEY, str(table.file), f"lists {plain_text(picture.name)!r} twice, {both}")
    listing.skipped.add("listed twice", picture)
    return True
