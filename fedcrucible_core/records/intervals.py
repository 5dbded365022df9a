"""Intervals of measured rates."""

from __future__ import annotations

import math

Z_95 = 1.959963984540054


def wilson_percent(successes: int, total: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson score interval in percent of ``successes`` among ``total`` (wilson1927); 95 % unless ``z`` is given.

    With p = k/n: centre (p + z²/2n) / (1 + z²/n), half width z·sqrt(p(1-p)/n + z²/4n²) / (1 + z²/n).
    Raises ValueError unless ``0 <= successes <= total`` and ``total > 0``.
    """
    if total <= 0 or not 0 <= successes <= total:
        raise ValueError(f"need 0 <= successes <= total and total > 0, got {successes} of {total}")
    share, spread = successes / total, z * z / total
    centre = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / total + spread / (4 * total)) / (1 + spread)
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == total else min(1.0, centre + half)
    return 100.0 * low, 100.0 * high


def wilson_of_rate(rate_percent: float | None, total: int) -> tuple[float, float] | None:
    """Wilson interval of a measured rate in percent over ``total`` images; None when either is missing."""
    if rate_percent is None or total <= 0:
        return None
    return wilson_percent(min(total, max(0, round(rate_percent * total / 100.0))), total)
