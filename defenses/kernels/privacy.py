"""What client-level noise is worth: (epsilon, delta) by Opacus' accountant (mironov2019)."""

from __future__ import annotations

import warnings
from functools import cache

NO_CLAIM = "none: the noise isn't calibrated to what one client can change, so no epsilon is stated"
"""What rules say whose noise is a defence only."""

ORDERS = [
    *(1.001, 1.002, 1.005, 1.01, 1.02, 1.05),
    *(1.0 + x / 10.0 for x in range(1, 100)),
    *(float(x) for x in range(11, 64)),
    *(64.0, 80.0, 96.0, 128.0, 192.0, 256.0, 512.0, 1024.0),
]
"""Renyi orders that are tried: low ones serve little noise, high ones much."""


def epsilon(sampling_rate: float, noise: float, rounds: int, delta: float) -> float:
    """Smallest epsilon at ``delta`` after ``rounds`` releases of the sampled Gaussian mechanism.

    Renyi accounting: every client takes part in a round with probability ``sampling_rate`` on its own (Poisson), and
    neighbouring federations differ by one client.  ``noise`` is the deviation in units of the clipping length, > 0.
    """
    from opacus.accountants.analysis.rdp import get_privacy_spent  # seconds to import

    spent = [rounds * one for one in _one_round(sampling_rate, noise)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the best order is the first or last one: the figure is valid all the same
        found, _ = get_privacy_spent(orders=ORDERS, rdp=spent, delta=delta)
    return max(0.0, float(found))


@cache
def _one_round(sampling_rate: float, noise: float) -> tuple[float, ...]:
    from opacus.accountants.analysis.rdp import compute_rdp

    found = compute_rdp(q=sampling_rate, noise_multiplier=noise, steps=1, orders=ORDERS)
    return tuple(float(one) for one in found)
