"""Values as JSON may hold them, every text in them made plain."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fedcrucible_core.config.plain_text import plain_text


def plain_json(value: Any, limit: int) -> Any:
    """Mappings, sequences, texts and numbers with every text, keys included, as one plain line of ``limit`` characters.

    A number that isn't finite becomes text, for JSON has none.
    """
    if isinstance(value, Mapping):
        return {plain_text(key, limit): plain_json(item, limit) for key, item in value.items()}
    if isinstance(value, str):
        return plain_text(value, limit)
    if isinstance(value, Sequence):
        return [plain_json(item, limit) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
