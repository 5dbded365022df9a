"""Texts of the data set's classes that anyone may see: what a server can show a language model, or imitate."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.text_files import read_text
from fedcrucible_core.foundation.cache import files_digest
from fedcrucible_core.foundation.text_answers import ClassNames, clean
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.datasets.public import public_slice
from fedcrucible_core.learning.tasks.text import TextTask


def class_texts(info: DataInfo, path: str, key: str, *, needed: bool = True) -> list[list[str]]:
    """Public texts by class, in file order, on one line each.

    Args:
        info: whose classes they are.
        path: JSON-lines file, each line an object with ``text`` and ``label`` (a class name, or its number); empty =
            the public slice that ships with the data set.
        key: configuration key of ``path``, for messages.
        needed: every class must have some; else a data set without a public slice has none.

    Raises:
        ConfigError: a file that can't be read, a line of another form or class, a class without texts.
    """
    texts = _of_file(info, Path(path).expanduser(), key) if path else _of_slice(info)
    lacking = [name for name, found in zip(info.class_names, texts, strict=True) if not found]
    if needed and lacking:
        without = f"has no text of {', '.join(lacking)}" if path else f"no public texts ship with {info.name}"
        raise ConfigError(key, path, f"{without}: give a JSON-lines file that has text and label for every class")
    return texts


def sources_digest(path: str) -> str:
    """Content hash of the file of texts; empty for what ships, which changes with the data set only."""
    file = Path(path).expanduser()
    return files_digest([file]) if path and file.is_file() else ""


def _of_slice(info: DataInfo) -> list[list[str]]:
    found: list[list[str]] = [[] for _ in info.class_names]
    slice_ = public_slice(info)
    if slice_ is not None:
        for text, label in zip(TextTask(info).decode(slice_.inputs), slice_.labels.tolist(), strict=True):
            found[label].append(_closed_up(clean(text)))
    return found


def _closed_up(text: str) -> str:
    """A text that was put together from tokens, without the blanks that they leave around punctuation.

    >>> _closed_up("gnat : a small ( two - winged ) fly ; bites")
    'gnat: a small (two-winged) fly; bites'
    """
    return re.sub(r"(?<=\() | (?=[:;,.!?)])| (?=- )|(?<= -) ", "", text)


def _of_file(info: DataInfo, file: Path, key: str) -> list[list[str]]:
    try:
        status = file.stat()
        return [list(texts) for texts in _read(info, file, key, status.st_size, status.st_mtime_ns)]
    except OSError as error:
        raise ConfigError(key, str(file), f"can't be read ({error.strerror or error})") from error
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(key, str(file), str(error)) from error


@lru_cache(maxsize=8)
def _read(info: DataInfo, file: Path, key: str, size: int, changed: int) -> tuple[tuple[str, ...], ...]:  # noqa: ARG001
    names = ClassNames(info.class_names, info.own_names)
    found: list[list[str]] = [[] for _ in info.class_names]
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        if not line.strip():
            continue
        text, label = _entry(line)
        known = names.find(label)
        if not text or known is None:
            wanted = f"line {number} is no object with a text and, as label, one of {', '.join(info.class_names)}"
            raise ConfigError(key, str(file), wanted)
        found[known].append(text)
    return tuple(map(tuple, found))


def _entry(line: str) -> tuple[str, str]:
    """Text and label of a line; empty where there is none."""
    try:
        entry: Any = json.loads(line)
        text, label = entry["text"], entry["label"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return "", ""
    return (clean(text), str(label)) if isinstance(text, str) and isinstance(label, str | int) else ("", "")
