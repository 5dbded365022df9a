"""What a run has spent of differential privacy, as its rounds say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fedcrucible_core.records.schema import RoundRecord, RunSummary

FACTS = ("rule.epsilon", "rule.delta", "rule.releases")


@dataclass(frozen=True)
class Spent:
    """(epsilon, delta) after ``rounds`` accounted rounds; None where nothing is promised."""

    epsilon: float | None = None
    delta: float | None = None
    rounds: int = 0


def spent(rounds: Sequence[RoundRecord]) -> Spent:
    """What the last round that states it has accounted for: rounds that kept the model state nothing."""
    for record in reversed(rounds):
        values = [record.facts.get(name, math.nan) for name in FACTS]
        if all(math.isfinite(value) for value in values):
            return Spent(values[0], values[1], int(values[2]))
    return Spent()


def privacy_line(summary: RunSummary) -> str:
    """One line for people; empty where the rule has nothing to say of privacy."""
    if not summary.privacy:
        return ""
    if summary.epsilon is None or summary.delta is None:
        return f"differential privacy: {summary.privacy if summary.privacy.startswith('none') else 'none'}"
    rounds = f"{summary.private_rounds} round{'s' * (summary.private_rounds != 1)}"
    return (
        f"differential privacy: epsilon {summary.epsilon:.3g} at delta {summary.delta:.2g} after {rounds}, "
        f"{summary.privacy}"
    )
