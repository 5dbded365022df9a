"""What a setting's value may be."""

from __future__ import annotations

Scalar = str | int | float | bool


def value_text(value: Scalar) -> str:
    """A value as a reader sees it: true, false, and whole numbers without a point, whatever type they came in."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)
