"""The records of a message's content, taken out without a view.

Flower's ``content.array_records`` and its siblings make a view each time, which refers to itself and to the content:
the arrays of every reply that was looked at so stay in memory until Python's cycle collector happens to run.
"""

from __future__ import annotations

from typing import TypeVar

from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict

R = TypeVar("R", ArrayRecord, MetricRecord, ConfigRecord)


def record_in(content: RecordDict, key: str, kind: type[R]) -> R:
    """The record ``key`` of a kind. Raises KeyError where there is none, or one of another kind."""
    found = content[key]
    if not isinstance(found, kind):
        raise KeyError(key)
    return found


def records_of(content: RecordDict, kind: type[R]) -> dict[str, R]:
    """All records of a kind, by key."""
    return {key: found for key, found in content.items() if isinstance(found, kind)}
