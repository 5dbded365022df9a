"""Reading a paper's table."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.errors import did_you_mean

FOLDER = Path(__file__).parent


Value = float | str
"""A figure in percent (or points), or words where the paper gives none; empty where it says nothing."""


@dataclass(frozen=True)
class PaperNumber:
    """One of the numbers that a table gives of every cell."""

    name: str
    """What the paper calls it."""
    ours: str
    """Column of results.csv that it stands beside."""
    drop: bool = False
    """Whether it is how far that number lies below the undefended run's, in points."""


USUAL = (PaperNumber("MA", "ma"), PaperNumber("ASR", "asr"))
"""What a table gives that doesn't say."""


@dataclass(frozen=True)
class PaperTable:
    """A table or a figure: some numbers, in percent, of every cell."""

    name: str
    """e.g. ``clip-fed/table1``."""
    title: str
    source: str
    axes: tuple[str, ...]
    """What the parts of a key are, e.g. data set, attack, strategy."""
    values: Mapping[tuple[str, ...], tuple[Value, ...]]
    """One label per axis -> one value per number."""
    numbers: tuple[PaperNumber, ...] = USUAL
    notes: tuple[str, ...] = ()

    def labels(self, axis: str) -> list[str]:
        """The labels of one axis in the paper's order."""
        place = self.axes.index(axis)
        return list(dict.fromkeys(key[place] for key in self.values))


def paper_names() -> list[str]:
    """Papers whose tables are here."""
    return sorted(path.name for path in FOLDER.iterdir() if path.is_dir() and any(path.glob("*.toml")))


def table_names(paper: str) -> list[str]:
    """Tables of a paper. Raises ConfigError for a paper that isn't here."""
    if paper not in paper_names():
        raise ConfigError("paper", paper, f"{did_you_mean(paper, paper_names())}allowed: {', '.join(paper_names())}")
    return sorted(path.stem for path in (FOLDER / paper).glob("*.toml"))


def load_table(name: str) -> PaperTable:
    """A table by name, e.g. ``clip-fed/table1``. Raises ConfigError for one that isn't here."""
    paper, _, stem = name.partition("/")
    names = table_names(paper)
    if stem not in names:
        raise ConfigError("table", stem, f"{did_you_mean(stem, names)}allowed: {', '.join(names)}")
    content = tomllib.loads((FOLDER / paper / f"{stem}.toml").read_text(encoding="utf-8"))
    axes = tuple(content["axes"])
    numbers = tuple(PaperNumber(**one) for one in content["numbers"]) if "numbers" in content else USUAL
    values = {key: _read(name, key, given, numbers) for key, given in _leaves(content["values"], len(axes))}
    return PaperTable(name, content["title"], content["source"], axes, values, numbers, tuple(content.get("notes", ())))


def _read(name: str, key: tuple[str, ...], given: list[Value], numbers: Sequence[PaperNumber]) -> tuple[Value, ...]:
    """The values of one cell. Raises ValueError where there aren't as many as the table has numbers."""
    if len(given) != len(numbers):
        raise ValueError(f"{name}, {', '.join(key)}: {len(given)} values for {len(numbers)} numbers")
    return tuple(value if isinstance(value, str) else float(value) for value in given)


def _leaves(table: Mapping[str, Any], depth: int) -> Iterator[tuple[tuple[str, ...], list[Value]]]:
    for label, inner in table.items():
        if depth == 1:
            yield (label,), inner
        else:
            for rest, pair in _leaves(inner, depth - 1):
                yield (label, *rest), pair
