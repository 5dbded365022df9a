"""Mean and spread over seeds (docs/choices.md#seeds)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Mean, sample standard deviation and Student-t 95 % interval of the mean; only the mean for one value."""

    count: int
    mean: float
    deviation: float | None
    low: float | None
    high: float | None


def spread(values: Sequence[float]) -> Spread | None:
    """Spread of ``values``; None for none."""
    if not values:
        return None
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Spread(1, mean, None, None, None)
    deviation = statistics.stdev(values)
    from scipy.special import stdtrit  # the t quantile, without the seconds that scipy.stats takes to import

    half = float(stdtrit(len(values) - 1, 0.975)) * deviation / math.sqrt(len(values))
    return Spread(len(values), mean, deviation, mean - half, mean + half)
