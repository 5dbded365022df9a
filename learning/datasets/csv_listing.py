"""A table of paths and labels to a listing of pictures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

from config import ConfigError
from learning.datasets.class_folders import match_names, refuse_look_alikes
from learning.datasets.csv_rows import (
    IMAGE_NAMES,
    KEY,
    LABEL_NAMES,
    Rows,
    choose_column,
    read_rows,
    split_column,
)
from learning.datasets.listing import SPLITS, Listed, Listing, shown, split_named
from learning.datasets.skipped import Skipped

WHOLE = re.compile(r"[+-]?\d+")


def list_csv(
    file: Path, image_column: str = "", label_column: str = "", group_column: str = "", classes: Sequence[str] = ()
) -> Listing:
    """The pictures that a table names.

    Paths are relative to the table's folder; absolute ones and ``..`` are followed, so use tables that you trust.  A
    column ``split`` shares rows out to train, validation and test; without it all are training pictures.  Classes are
    the labels of all splits, ordered as numbers where all are whole numbers, else by their code points; or ``classes``.

    Raises:
        ConfigError: a table or column that can't be used, a missing label, labels that look alike, a picture in two
            splits or with two labels.
    """
    table = read_rows(file)
    image = choose_column(table.header, image_column, IMAGE_NAMES, "task.image_column")
    label = choose_column(table.header, label_column, LABEL_NAMES, "task.label_column")
    if image == label:
        raise ConfigError("task.label_column", label, "is the column of paths as well")
    groups = [""] * len(table.rows)
    if group_column:
        groups = table.column(choose_column(table.header, group_column, (), "partition.by-column.column"))
    splits, labels = _split_of_rows(table, (image, label)), table.column(label)
    notes = _labels_are_there(splits, labels, table)
    used = [i for i, split in enumerate(splits) if split]
    names = _classes([labels[i] for i in used], classes, table)
    listing = Listing({}, tuple(dict.fromkeys(names.values())) if not classes else tuple(classes), Skipped(), notes)
    seen: dict[Path, tuple[str, str]] = {}
    paths = table.column(image)
    for i in used:
        picture = _picture(paths[i], table.file.parent, listing.skipped)
        if picture is None or _again(picture, (splits[i], names[labels[i]]), seen, table, listing.skipped):
            continue
        listing.splits.setdefault(splits[i], []).append(Listed(picture, names[labels[i]], groups[i]))
    order = [name for name in SPLITS if name in listing.splits]
    listing.splits = {name: listing.splits[name] for name in order}
    return listing


def _split_of_rows(table: Rows, used: tuple[str, str]) -> list[str]:
    column = split_column(table.header, used)
    if column is None:
        return ["train"] * len(table.rows)
    cells = table.column(column)
    unknown = Counter(cell for cell in cells if split_named(cell) is None)
    if unknown:
        allowed = f"column {column!r} holds {shown(list(unknown))} in {unknown.total()} rows; allowed: train, val, test"
        raise ConfigError(KEY, str(table.file), allowed)
    return [split_named(cell) or "" for cell in cells]


def _labels_are_there(splits: list[str], labels: Sequence[str], table: Rows) -> list[str]:
    """A split without any label is left out (its rows get no split) with a note; single ones must not be missing."""
    notes = []
    for split in SPLITS:
        rows = [i for i, name in enumerate(splits) if name == split]
        missing = [i for i in rows if not labels[i]]
        if missing and (len(missing) < len(rows) or split == "train"):
            allowed = f"{len(missing)} of {len(rows)} rows of {split} have no label; label them or remove them"
            raise ConfigError(KEY, str(table.file), allowed)
        if missing:
            notes.append(f"{split} is not used: none of its {len(rows)} rows has a label")
            for i in rows:
                splits[i] = ""
    return notes


def _classes(labels: Sequence[str], classes: Sequence[str], table: Rows) -> dict[str, str]:
    """Label -> name of its class, in label order."""
    found = list(dict.fromkeys(labels))
    if classes:
        matched = match_names(classes, found, KEY, str(table.file))
        strangers = [name for name in found if name not in matched]
        if strangers:
            allowed = f"the label {shown(strangers)} is none of the classes {shown(classes)}"
            raise ConfigError(KEY, str(table.file), allowed)
        return {own: name for name, own in zip(classes, matched, strict=True) if own is not None}
    refuse_look_alikes(found, "the labels", KEY, str(table.file))
    numbers = all(WHOLE.fullmatch(name) for name in found)
    return {name: name for name in (sorted(found, key=int) if numbers else sorted(found))}


def _picture(text: str, folder: Path, skipped: Skipped) -> Path | None:
    """The file that a cell means, or None with a reason."""
    if not text:
        skipped.add("a row without a path", folder)
    elif "://" in text:
        skipped.add("an address, not a file (nothing is downloaded)", text)
    else:
        for written in (text, PureWindowsPath(text).as_posix()):
            path = folder / Path(written).expanduser()
            if _is_file(path):
                return path
        skipped.add("missing", folder / text)
    return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long a name, a null byte
        return False


def _again(picture: Path, place: tuple[str, str], seen: dict[Path, tuple[str, str]], table: Rows, skip: Skipped) -> bool:
    """Whether the picture was listed before, in the same place; in another one it is refused."""
    before = seen.setdefault(picture, place)
    if before != place:
        (split, name), (other, other_name) = before, place
        both = f"in {split} and in {other}" if split != other else f"as {name!r} and as {other_name!r}"
        raise ConfigError(KEY, str(table.file), f"lists {picture.name!r} twice, {both}")
    if seen[picture] is not place:
        skip.add("listed twice", picture)
        return True
    return False
