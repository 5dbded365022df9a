"""Pages of ``docs`` that the program itself reads: from the checkout, or from the copy that a wheel has."""

from __future__ import annotations

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2] / "docs"
PACKAGED = Path(__file__).resolve().parent
"""pyproject.toml lists what a wheel puts here."""


def document(name: str) -> str:
    """The text of a page. Raises FileNotFoundError where neither the checkout nor the wheel has it."""
    path = CHECKOUT / name
    return (path if path.is_file() else PACKAGED / name).read_text(encoding="utf-8")
