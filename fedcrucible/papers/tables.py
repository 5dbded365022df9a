"""Reading a paper's table."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.errors import did_you_mean

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class PaperTable:
    """A table of MA and ASR in percent."""

    name: str
    """e.g. ``clip-fed/table1``."""
    title: str
    source: str
    axes: tuple[str, ...]
    """What the parts of a key are, e.g. data set, attack, strategy."""
    values: Mapping[tuple[str, ...], tuple[float, float]]
    """One label per axis -> MA, ASR."""
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
    values = {key: (float(pair[0]), float(pair[1])) for key, pair in _leaves(content["values"], len(axes))}
    return PaperTable(name, content["title"], content["source"], axes, values, tuple(content.get("notes", ())))


def _leaves(table: Mapping[str, Any], depth: int) -> Iterator[tuple[tuple[str, ...], list[float]]]:
    for label, inner in table.items():
        if depth == 1:
            yield (label,), inner
        else:
            for rest, pair in _leaves(inner, depth - 1):
                yield (label, *rest), pair
