"""A process that ends with its parent, however that one ends. Linux only."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """Have the kernel send this process SIGTERM when ``parent``, the process that started it, is gone."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
        raise OSError(ctypes.get_errno(), "the kernel can't tell when a parent process ends")
    if os.getppid() != parent:  # it was gone before
        sys.exit(0)
