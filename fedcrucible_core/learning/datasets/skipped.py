"""What was passed over in reading a data set, and why: counted, with examples, never silently."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from fedcrucible_core.config.plain_text import plain_text

EXAMPLES = 3


@dataclass
class Skipped:
    """Files by the reason why they are no part of the data."""

    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Reason -> number of files."""
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Reason -> the first of them, safe to show."""

    def add(self, reason: str, name: object) -> None:
        """One more file that is passed over; ``name`` is its path or what else says which it is."""
        self.counts[reason] += 1
        if len(self.examples[reason]) < EXAMPLES:
            self.examples[reason].append(plain_text(name))

    def __len__(self) -> int:
        return sum(self.counts.values())

    def notes(self) -> tuple[str, ...]:
        """One sentence per reason, the most frequent first."""
        by_count = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        return tuple(_sentence(reason, count, self.examples) for reason, count in by_count)


def _sentence(reason: str, count: int, examples: Mapping[str, list[str]]) -> str:
    named = examples[reason]
    listed = ", ".join(named) + (", ..." if count > len(named) else "")
    return f"skipped {count} file{'s' if count > 1 else ''}: {reason} ({listed})"
