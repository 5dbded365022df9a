"""A table as text, and numbers as its cells show them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fedcrucible_core.reports.statistics.spread import Spread

MISSING = "-"


@dataclass(frozen=True)
class Grid:
    """Headings, then rows; the first ``keys`` columns say what a row is."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    keys: int

    def markdown(self) -> str:
        """As Markdown."""
        lines = ["| " + " | ".join(map(_md, self.heads)) + " |", "|" + " --- |" * len(self.heads)]
        return "\n".join([*lines, *("| " + " | ".join(map(_md, row)) + " |" for row in self.rows)])


def mean_interval(found: Spread, usual: int = 3) -> str:
    """``mean ± half-width`` of Student's 95 % interval over seeds, with their number where it isn't the usual one."""
    if found.high is None:
        return f"{found.mean:.2f}" if usual == 1 else f"{found.mean:.2f} (1 seed)"
    seeds = "" if found.count == usual else f" ({found.count} seeds)"
    return f"{found.mean:.2f} ± {found.high - found.mean:.2f}{seeds}"


def markdown_text(text: str) -> str:
    """Text on one line of Markdown that starts no tag."""
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", " ".join(text.split()))


def _md(text: str) -> str:
    """A table's cell: lines stay apart."""
    return "<br>".join(markdown_text(line) for line in text.splitlines()).replace("|", "\\|")
