"""Why replies were dropped, as few kinds: a site may choose the words of a cause, and never its kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal, get_args

Kind = Literal["late", "node-gone", "client-error", "not-fetched", "unreadable", "invalid"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MEANING: dict[Kind, str] = {
    "late": "no reply within federation.timeout_s",
    "node-gone": "the SuperLink has not heard of the node for two heartbeats",
    "client-error": "the client's own error",
    "not-fetched": "a reply that could not be fetched or decoded",
    "unreadable": "a reply whose content could not be read",
    "invalid": "a reply that is not what was asked for: records, types, shapes, values, claims",
}
_BEGINNINGS: tuple[tuple[str, Kind], ...] = (
    ("no reply in time", "late"),
    ("error 3:", "late"),
    ("error 4:", "late"),
    ("error 5:", "node-gone"),
    ("error ", "client-error"),
    ("could not be fetched", "not-fetched"),
    ("unreadable", "unreadable"),
)
"""How causes begin: ``strategies/replies.py`` writes these words, and only what follows them is a site's own."""


def kind_of(cause: str) -> Kind:
    """The kind of a recorded cause."""
    return next((kind for beginning, kind in _BEGINNINGS if cause.startswith(beginning)), "invalid")


def counted(causes: Iterable[str]) -> dict[Kind, int]:
    """How many causes there are of each kind that occurs, in the order of ``KINDS``."""
    found = Counter(kind_of(cause) for cause in causes)
    return {kind: found[kind] for kind in KINDS if found[kind]}
