"""One writer at a time in one folder, whatever process or machine account it comes from."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

_HELD_BY_ANOTHER = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
_TRIES, _PAUSE_S = 3, 0.05
"""A lock may be held for a moment by one who only asks whether it is."""


class FolderBusyError(RuntimeError):
    """Another process writes to the folder."""


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold ``folder``, made where it is missing; let go by the system however this process ends.

    The folder itself is locked, so that no file is left behind.  On systems and file systems without such locks this
    does nothing.

    Raises:
        FolderBusyError: another process holds it.
    """
    handle = _locked(folder)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def has_writer(folder: Path) -> bool | None:
    """Whether a process writes to ``folder`` now; None where the system can't tell."""
    try:
        import fcntl
    except ImportError:
        return None
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return True if error.errno in _HELD_BY_ANOTHER else None
    finally:
        os.close(handle)
    return False


def _locked(folder: Path) -> int | None:
    try:
        import fcntl
    except ImportError:
        folder.mkdir(parents=True, exist_ok=True)
        return None
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:  # its last holder has just removed it
            continue
        try:
            _patiently(partial(fcntl.flock, handle, fcntl.LOCK_EX | fcntl.LOCK_NB))
        except OSError as error:
            os.close(handle)
            if error.errno in _HELD_BY_ANOTHER:
                raise FolderBusyError(str(folder)) from None
            return None
        if _still_there(folder, handle):
            return handle
        os.close(handle)


def _patiently(lock: Callable[[], None]) -> None:
    for _ in range(_TRIES - 1):
        try:
            lock()
        except OSError as error:
            if error.errno not in _HELD_BY_ANOTHER:
                raise
            time.sleep(_PAUSE_S)
        else:
            return
    lock()


def _still_there(folder: Path, handle: int) -> bool:
    """Whether the path leads to what is locked: its last holder may have removed it meanwhile."""
    try:
        return os.path.samestat(folder.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
