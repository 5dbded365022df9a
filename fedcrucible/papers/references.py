"""The publications that components name: full references, and how a source is written in text and Markdown."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from fedcrucible.papers.documents import document
from fedcrucible_core.config.citation import Paper, cited

UNVERIFIED = "unverified"
PARTICLES = ("van", "von", "de", "der", "den", "el", "al", "la")
"""Words that belong to the family name after them, in any case."""


@dataclass(frozen=True)
class Reference:
    """One publication."""

    key: str
    authors: tuple[str, ...]
    title: str
    venue: str
    year: int
    doi: str = ""
    """e.g. ``10.1109/CVPR.2016.90``, without the resolver's address."""
    arxiv: str = ""
    """e.g. ``1602.05629``."""
    url: str = ""
    verified: bool = False
    """Authors, title, venue, year and each number were read in a public source; a section that code cites wasn't."""
    note: str = ""

    @property
    def short(self) -> str:
        """E.g. ``Blanchard et al. 2017``."""
        names = [family_name(author) for author in self.authors]
        who = f"{names[0]} et al." if len(names) > 2 else " and ".join(names)
        return f"{who} {self.year}"

    @property
    def published(self) -> str:
        """Venue and year."""
        return self.venue if str(self.year) in self.venue else f"{self.venue}, {self.year}"

    @property
    def link(self) -> str:
        """The address to read it at: DOI, else arXiv, else URL; empty where none is known."""
        if self.doi:
            return f"https://doi.org/{self.doi}"
        return f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv else self.url

    @property
    def full(self) -> str:
        """Title, venue with its year, link, and a word where it is unverified."""
        return ". ".join(
            part for part in (self.title, self.published, self.link, "" if self.verified else UNVERIFIED) if part
        )


def family_name(author: str) -> str:
    """``El Mahdi El Mhamdi`` -> ``El Mhamdi``."""
    words = author.split()
    start = len(words) - 1
    while start > 1 and words[start - 1].lower() in PARTICLES:
        start -= 1
    return " ".join(words[start:])


@cache
def references() -> Mapping[str, Reference]:
    """Every reference by key, read from the checkout or from the copy in the wheel.

    Raises:
        FileNotFoundError: neither the checkout nor the wheel has the file.
        TypeError: an entry lacks a field or has one that isn't known.
    """
    content = tomllib.loads(document("references.toml"))
    return {key: Reference(key, tuple(fields.pop("authors")), **fields) for key, fields in content.items()}


def sources(paper: Paper) -> tuple[tuple[Reference, str], ...]:
    """The publications a component names, with the place in each. Raises KeyError for a key that isn't listed."""
    return tuple((references()[key], place) for key, place in cited(paper))


def in_words(paper: Paper) -> str:
    """A source in one line, e.g. ``Blanchard et al. 2017, section 4``."""
    if isinstance(paper, str):
        return paper
    return "; ".join(_with_place(reference.short, reference, place) for reference, place in sources(paper))


def in_markdown(paper: Paper) -> str:
    """A source in one line, with links."""
    if isinstance(paper, str):
        return paper
    return "; ".join(
        _with_place(f"[{reference.short}]({reference.link})" if reference.link else reference.short, reference, place)
        for reference, place in sources(paper)
    )


def _with_place(name: str, reference: Reference, place: str) -> str:
    return ", ".join(part for part in (name, place, "" if reference.verified else UNVERIFIED) if part)
