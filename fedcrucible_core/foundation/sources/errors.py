"""What a source raises when it can't deliver."""

from __future__ import annotations


class SourceError(RuntimeError):
    """A source failed while making images (service down, unreadable answer); the message says what to do."""
