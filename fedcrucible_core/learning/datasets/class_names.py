"""``task.class_names``: what the classes are called, where the data set itself has only ids."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.config.text_files import read_text
from fedcrucible_core.learning.datasets.class_folders import folded

KEY = "task.class_names"
FILE_SUFFIXES = frozenset({".json", ".csv", ".tsv", ".txt"})
FILE_FORMAT = "a JSON object id -> name or list of names, a CSV of id,name, or lines of an id and a name"
HEADERS = frozenset({"id", "class", "label", "wnid", "class_id", "classid", "index", "code"})
ID_LIKE = re.compile(
    r"n\d{8}"  # WordNet
    r"|[\d\s._+-]*\d[\d\s._+-]*"  # numbers
    r"|\w"  # one letter
    r"|(class|label|category|type|cls|cat|id|[a-z])[ _-]?\d+"  # class 3, c07, label_12
    r"|true|false|yes|no|none"
    r"|[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}|(?=.*\d)[0-9a-f]{12,}",  # UUIDs and hashes
    re.IGNORECASE | re.ASCII,
)
"""Names that say nothing to a guide."""


def class_names(setting: str, own: Sequence[str], root: Path) -> tuple[str, ...]:
    """Names in class order: ``own`` where ``setting`` is empty, else those that it lists or that its file maps to.

    ``setting`` is a list, separated by ``|`` where there is one, else by commas; or the path of a file, absolute or
    relative to the data folder ``root``.  A file may name ids by the data set's own class names or by class numbers
    from 0.

    Raises:
        ConfigError: a wrong number of names, empty or equal ones, the classes' own in another order, ids that are
            unknown or missing, an unreadable file.
    """
    if not setting.strip():
        return tuple(own)
    path = _file(setting.strip(), root)
    if path is None:
        names = [name.strip() for name in setting.split("|" if "|" in setting else ",")]
        _refuse_permutation(names, setting, own)
    else:
        names = _from_file(path, setting, own)
    return _checked(names, setting, own)


def ids_among(names: Sequence[str]) -> tuple[str, ...]:
    """The names that look like ids (WordNet numbers, digits, single letters, hashes), if most of them do."""
    found = tuple(name for name in names if ID_LIKE.fullmatch(name.strip()))
    return found if 2 * len(found) > len(names) else ()


def _file(setting: str, root: Path) -> Path | None:
    path = root / Path(setting).expanduser()  # an absolute path stays as it is
    try:
        if path.is_file():
            return path
    except (OSError, ValueError):  # a list too long for a path
        return None
    if path.suffix.lower() in FILE_SUFFIXES:
        raise ConfigError(KEY, setting, f"no such file ({path})")
    return None


def _from_file(path: Path, setting: str, own: Sequence[str]) -> list[str]:
    try:
        content = read_text(path)
        found = json.loads(content) if path.suffix.lower() == ".json" else None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(KEY, setting, f"can't be read ({plain_text(error)}); allowed: {FILE_FORMAT}") from error
    if isinstance(found, list):
        return [_text(name, setting) for name in found]
    if isinstance(found, dict):
        return _mapped([(str(id_), _text(name, setting)) for id_, name in found.items()], setting, own)
    if path.suffix.lower() == ".json":
        raise ConfigError(KEY, setting, f"holds {type(found).__name__}; allowed: {FILE_FORMAT}")
    rows = _rows(content, path.suffix.lower())
    if all(len(row) == 1 for row in rows) or not _by_id(rows, own):
        return [" ".join(row) for row in rows]
    if any(len(row) != 2 for row in rows):
        wrong = next(row for row in rows if len(row) != 2)
        raise ConfigError(KEY, setting, f"line {plain_text(' '.join(wrong), 60)!r} has no id and name")
    return _mapped([(row[0], row[1]) for row in rows], setting, own)


def _text(name: object, setting: str) -> str:
    if isinstance(name, list) and len(name) == 2:  # ["n01440764", "tench"]
        name = name[1]
    if not isinstance(name, str):
        raise ConfigError(KEY, setting, f"holds {plain_text(name, 40)} where a name should be; allowed: {FILE_FORMAT}")
    return name


def _rows(content: str, suffix: str) -> list[list[str]]:
    """Lines as [id, name], or as [name] where there is no more."""
    if suffix == ".csv":
        lines = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(content)) if any(row)]
        if lines and lines[0][0].lower() in HEADERS:
            lines = lines[1:]
        return lines
    tabbed = "\t" in content
    return [
        [part.strip() for part in line.strip().split("\t" if tabbed else None, 1)]
        for line in content.splitlines()
        if line.strip()
    ]


def _by_id(rows: Sequence[Sequence[str]], own: Sequence[str]) -> bool:
    """Whether lines begin with ids: some are the data set's, or most look like ids."""
    firsts = [row[0] for row in rows]
    return bool(set(map(_plain, firsts)) & set(map(_plain, own))) or bool(ids_among(firsts))


def _mapped(pairs: Sequence[tuple[str, str]], setting: str, own: Sequence[str]) -> list[str]:
    """Names in class order, by the classes' own names or, where no id is one of them, by their numbers."""
    ids = [_plain(id_) for id_, _ in pairs]
    repeated = sorted({id_ for id_ in ids if ids.count(id_) > 1}) if len(set(ids)) < len(ids) else []
    if repeated:
        raise ConfigError(KEY, setting, f"names an id more than once: {_some(repeated)}")
    by_id: Mapping[str, str] = dict(zip(ids, (name for _, name in pairs), strict=True))
    classes = [_plain(name) for name in own]
    numbers = [str(number) for number in range(len(own))]
    wanted = numbers if set(numbers) == set(by_id) and set(classes) != set(by_id) else classes
    unknown = [id_ for id_ in by_id if id_ not in set(wanted)]
    missing = [id_ for id_ in wanted if id_ not in by_id]
    if unknown or missing:
        problems = [f"unknown ids: {_some(unknown)}"] if unknown else []
        problems += [f"no name for {_some(missing)}"] if missing else []
        raise ConfigError(KEY, setting, f"{'; '.join(problems)}; the classes are {_some(list(own))}")
    return [by_id[id_] for id_ in wanted]


def _refuse_permutation(names: Sequence[str], setting: str, own: Sequence[str]) -> None:
    """A list renames; where it holds the classes' own names in another order, that can't be meant."""
    given, classes = [folded(name) for name in names], [folded(name) for name in own]
    if given != classes and sorted(given) == sorted(classes):
        raise ConfigError(KEY, setting, f"the classes' own names in another order; their order is {_some(list(own))}")


def _checked(names: Sequence[str], setting: str, own: Sequence[str]) -> tuple[str, ...]:
    names = [" ".join(name.split()) for name in names]
    if len(names) != len(own):
        raise ConfigError(KEY, setting, f"{len(names)} names for {len(own)} classes ({_some(list(own))})")
    if not all(names):
        raise ConfigError(KEY, setting, f"the name of class {names.index('')} is empty")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(KEY, setting, f"several classes have the same name: {_some(twice)}")
    return tuple(names)


def _plain(name: str) -> str:
    """Data sets' names are shown with blanks for underscores."""
    return " ".join(name.replace("_", " ").split())


def _some(items: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(plain_text(item, 40) for item in items[:most])
    return f"{shown} and {len(items) - most} more" if len(items) > most else shown
