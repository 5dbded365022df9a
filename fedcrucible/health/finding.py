"""One line of the doctor's report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it is, and what to do; ``fail`` means that the demo can't run."""

    group: str
    name: str
    status: Status
    detail: str
    todo: str = ""
