"""How a learning rate changes from epoch to epoch: factors on it, for ``minimise``."""

from __future__ import annotations

import math
from collections.abc import Callable


def cosine(epochs: int) -> Callable[[int], float]:
    """(1 + cos(pi e / epochs)) / 2 in epoch e = 0, 1, ...: 1 at first, nearly 0 in the last one."""
    return lambda epoch: 0.5 * (1.0 + math.cos(math.pi * epoch / epochs))


def step(at: int, factor: float = 0.1) -> Callable[[int], float]:
    """1 in the epochs before ``at``, ``factor`` from then on."""
    return lambda epoch: 1.0 if epoch < at else factor
