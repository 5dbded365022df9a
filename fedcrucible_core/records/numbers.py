"""What a number is: title, unit and which way is better. Declared once, beside the field that holds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

Better = Literal["higher", "lower", ""]


@dataclass(frozen=True)
class Number:
    """A measured number as tables, charts and files show it."""

    name: str
    """Key in JSON, e.g. ``MA``; in small letters the column of results.csv."""
    title: str
    """Heading, without the unit."""
    unit: str = "%"
    better: Better = ""
    meaning: str = ""
    """What it is, in a few words."""
    of: str = ""
    """What it is a share of, in words."""
    tone: str = ""
    """Colour of its line and its card, e.g. ``blue``; empty = it isn't drawn."""

    @property
    def column(self) -> str:
        """Column of results.csv."""
        return self.name.lower()

    @property
    def heading(self) -> str:
        """Title with the unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


def numbers_of(model: type[BaseModel]) -> dict[str, Number]:
    """The declared numbers of a record's part: field -> number, in the order of the fields."""
    return {
        field: found
        for field, info in model.model_fields.items()
        for found in info.metadata
        if isinstance(found, Number)
    }
