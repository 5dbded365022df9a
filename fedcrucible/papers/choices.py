"""docs/choices.md as values: what papers leave open, and what is done here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from fedcrucible.papers.documents import document

_HEADING = re.compile(r"^### (\S+)$", re.MULTILINE)
_POINT = re.compile(r"^- (Open|Public code|Here|Option): (.*(?:\n {2,}.*)*)", re.MULTILINE)


@dataclass(frozen=True)
class Choice:
    """One point that a paper leaves open."""

    anchor: str
    open: str
    public_code: str
    here: str
    option: str


@cache
def choices() -> Mapping[str, Choice]:
    """Every choice by its heading.

    Raises:
        ValueError: a heading occurs twice, or one of its four points is missing.
        FileNotFoundError: neither the checkout nor the wheel has the page.
    """
    return read_choices(document("choices.md"))


def read_choices(page: str) -> dict[str, Choice]:
    """The choices of a page in its order. Raises ValueError as :func:`choices` does."""
    found: dict[str, Choice] = {}
    _, *parts = _HEADING.split(page)
    for anchor, text in zip(parts[::2], parts[1::2], strict=True):
        points = {name: " ".join(said.split()) for name, said in _POINT.findall(text)}
        missing = [name for name in ("Open", "Public code", "Here", "Option") if name not in points]
        if missing:
            raise ValueError(f"docs/choices.md: {anchor} says nothing of {', '.join(missing)}")
        if anchor in found:
            raise ValueError(f"docs/choices.md: {anchor} occurs twice")
        found[anchor] = Choice(anchor, points["Open"], points["Public code"], points["Here"], points["Option"])
    return found
