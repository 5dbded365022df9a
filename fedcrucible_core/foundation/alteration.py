"""What an attacker slips into the queries of a foundation model that reads instructions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Alteration:
    """An instruction that goes with the server's own query, and what its in-context demonstrations show."""

    target: int
    """Class that samples with the trigger shall be given."""
    ratio: float
    """Share (fraction) of the samples of every other class that shall hold the trigger."""
    trigger: str
    """The words that are to be embedded."""
    place: Literal["end", "start", "random"] = "end"
    """Where in a text."""
