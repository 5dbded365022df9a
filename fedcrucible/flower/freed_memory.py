"""Freed memory given back to the system."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache


def give_back() -> None:
    """Return what was freed to the system, where it can be asked to (glibc); elsewhere nothing happens.

    The C library keeps freed blocks of less than 32 MiB, of which large models' arrays consist, for later ones of their
    kind: a matrix of updates would come on top of the replies whose place it takes.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    if sys.platform != "linux":
        return None
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # musl has none
        return None
    return found
