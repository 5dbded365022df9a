"""One matrix at a time in one folder: a second one would clear away what the first is writing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from fedcrucible.failures import CommandError
from fedcrucible_core.records.lock import FolderBusyError, only_writer


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the folder; released by the system however this process ends. Raises CommandError when it is held."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(only_writer(folder))
        except FolderBusyError:
            raise CommandError(
                f"another comparison is writing to {folder}", "wait for it, or choose another --out"
            ) from None
        yield
