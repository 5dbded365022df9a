"""Accuracy and attack success in the metrics of a foreign app, by the names that apps usually give them."""

from __future__ import annotations

import math
from collections.abc import Mapping

FRACTIONS = {
    "ma_percent": ("accuracy", "acc", "eval_acc", "eval_accuracy", "test_acc", "test_accuracy", "val_acc",
                   "val_accuracy", "centralized_accuracy", "ma"),
    "asr_percent": ("asr", "eval_asr", "test_asr", "attack_success_rate", "attack_success"),
}  # fmt: skip
"""Rate -> names under which it is a fraction, 0 to 1; under its own name it is in percent."""


def is_finite(number: float) -> bool:
    """Whether a number is one, and none that overflows a float."""
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


def rates_of(metrics: Mapping[str, object]) -> dict[str, float]:
    """``ma_percent`` and ``asr_percent``, as far as the metrics hold them; dashes and capitals in names don't matter.

    A fraction above 1 is no fraction and left out: whether it is percent nobody can tell of the values below 1.
    """
    named = {str(key).lower().replace("-", "_"): value for key, value in metrics.items()}
    found: dict[str, float] = {}
    for rate, names in FRACTIONS.items():
        for name, scale in ((rate, 1.0), *((name, 100.0) for name in names)):
            value = named.get(name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not is_finite(value):
                continue
            if 0.0 <= scale * value <= 100.0:
                found[rate] = scale * float(value)
                break
    return found
