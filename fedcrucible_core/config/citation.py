"""How a component names its sources: by keys of docs/references.toml, or in words."""

from __future__ import annotations

Paper = str | tuple[str, str] | tuple[tuple[str, str], ...]
"""A source: (key, place) of one publication, e.g. ``("blanchard2017", "section 4")``; several such pairs; or words.

A key is a table of docs/references.toml. A place is a section, an algorithm or an equation, and may be empty. Words
are for what nobody published.
"""


def cited(paper: Paper) -> tuple[tuple[str, str], ...]:
    """The pairs (key, place) of a source; none where it is given in words."""
    if isinstance(paper, str):
        return ()
    pairs: list[tuple[str, str]] = []
    for part in paper:
        if isinstance(part, str):  # one pair, not several
            return ((part, str(paper[1])),)
        pairs.append(part)
    return tuple(pairs)
