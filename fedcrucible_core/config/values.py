"""What a setting's value may be."""

from __future__ import annotations

Scalar = str | int | float | bool
