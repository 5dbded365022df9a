"""What was passed over in reading a data set, and why: counted, with examples, never silently."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fedcrucible_core.config.plain_text import plain_text

EXAMPLES = 3
LONGEST_NAME = 1000
"""Characters of a name that is kept."""


@dataclass
class Skipped:
    """Files, or inputs of another kind, by the reason why they are no part of the data."""

    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Reason -> number of them."""
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Reason -> the first of them, safe to show."""
    every: list[tuple[str, str]] = field(default_factory=list)
    """Name and reason of each, safe to show."""
    noun: str = "file"
    """What one of them is."""

    def add(self, reason: str, name: object) -> None:
        """One more that is passed over; ``name`` is a file's path or what else says which it is."""
        self.counts[reason] += 1
        self.every.append((plain_text(name, LONGEST_NAME), reason))
        if len(self.examples[reason]) < EXAMPLES:
            self.examples[reason].append(plain_text(name))

    def __len__(self) -> int:
        return sum(self.counts.values())

    def within(self, folder: Path) -> tuple[tuple[str, str], ...]:
        """Name and reason of each; what lies in ``folder`` is named from there."""
        prefix = f"{plain_text(folder, LONGEST_NAME)}{os.sep}"
        return tuple((name.removeprefix(prefix), reason) for name, reason in self.every)

    def notes(self) -> tuple[str, ...]:
        """One sentence per reason, the most frequent first."""
        by_count = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        return tuple(_sentence(reason, count, self.examples[reason], self.noun) for reason, count in by_count)


def _sentence(reason: str, count: int, named: Sequence[str], noun: str) -> str:
    listed = ", ".join(named) + (", ..." if count > len(named) else "")
    return f"skipped {count} {noun}{'s' if count > 1 else ''}: {reason} ({listed})"
