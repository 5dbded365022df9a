"""Federated learning under backdoor attack, from Python.

    import fedcrucible

    result = fedcrucible.run(strategy="clip-fed", attack="badnets", preset="demo", **{"run.seed": 2})
    result.ma_percent, result.asr_percent

Importing this costs nothing: what a function needs is imported when it is first named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedcrucible.api import (
        Catalogue,
        Comparison,
        Interrupted,
        Purification,
        Run,
        compare,
        list,  # noqa: A004
        purify,
        read,
        run,
    )
    from fedcrucible_core.config.errors import ConfigError

__all__ = [
    "Catalogue", "Comparison", "ConfigError", "Interrupted", "Purification", "Run", "compare", "list", "purify", "read",
    "run",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fedcrucible import api

    return getattr(api, name)


def __dir__() -> Any:
    return sorted({*globals(), *__all__})
