"""Every file and folder that a document names is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from fedcrucible_core.rooms import PACKAGES, ROOT, UNSHIPPED

SPAN = re.compile(r"`([^`\n]+)`")
NAMED = re.compile(r"[\w./-]+?(?:\.(?:py|md|toml|txt|ipynb|cff)|/)(?=$|[:\s])")
"""A file with an ending of ours, or a folder with a slash, at the start of a code span."""
OF_A_COMPARISON = {"cells/", "logs/"}
"""Folders that a comparison writes."""
OF_THE_READER = ("my_", "your_", "path/", "mine", "keys/")
"""How the names of a reader's own files begin."""
DOCUMENTS = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


@cache
def _places() -> tuple[str, ...]:
    """Files and folders of the project, from its root, each after a slash; folders end with one."""
    tops = [ROOT / name for name in (*PACKAGES, *UNSHIPPED, "docs", "docker", "examples")]
    found = [path for top in tops for path in (top, *top.rglob("*")) if "__pycache__" not in path.parts]
    found += [path for path in ROOT.iterdir() if path.is_file()]
    return tuple(f"/{path.relative_to(ROOT).as_posix()}{'/' * path.is_dir()}" for path in found)


def _named(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        for span in SPAN.findall(line):
            if (match := NAMED.match(span)) is not None:
                yield number, match[0]


def _missing(text: str) -> list[str]:
    """Names that end no place of the project: documents may leave a folder out that they have just named."""
    return [
        f"{number}: {name}"
        for number, name in _named(text)
        if name not in OF_A_COMPARISON
        and not name.startswith(OF_THE_READER)
        and not any(place.endswith(f"/{name}") for place in _places())
    ]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_is_there(document: Path) -> None:
    assert _missing(document.read_text(encoding="utf-8")) == []


def test_a_path_that_moved_is_found() -> None:
    text = "See `strategies/loop.py: Loop`, `loop.py` and `kernels/`.\nIt was `strategies/round_loop.py`."
    assert _missing(text) == ["2: strategies/round_loop.py"]
