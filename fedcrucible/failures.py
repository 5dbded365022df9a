"""Every failure of a command as one clear message and an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

FAILED, MISUSED, DEGRADED, INTERRUPTED = 1, 2, 4, 130
"""Exit codes.  DEGRADED: the run ended and its record is whole, but fewer sites replied than were required."""
LONGEST_MESSAGE = 4000
"""Characters of an unexpected error's message."""
TRACEBACK_ENV = "FEDCRUCIBLE_TRACEBACK"


class CommandError(Exception):
    """A command can't do what it was asked to; ``hint`` says what would help, ``code`` is the command's exit code."""

    def __init__(self, message: str, hint: str = "", code: int = FAILED) -> None:
        self.hint = hint
        self.code = code
        super().__init__(message)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a call from Python; ``folder`` holds what was recorded, if anything was."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        kept = f"rounds so far are recorded: fedcrucible.read({str(folder)!r})" if folder else "nothing was recorded"
        super().__init__(kept)


@dataclass
class RecordFolder:
    """Where a run's record lies, once there is one."""

    folder: Path | None = None

    def learn(self, folder: Path) -> None:
        """Remember the folder."""
        self.folder = folder


@contextlib.contextmanager
def clear_errors() -> Iterator[RecordFolder]:
    """Turn exceptions into a message on stderr and an exit code: 2 for settings, 130 for Ctrl-C, 1 for the rest.

    FEDCRUCIBLE_TRACEBACK=1 lets exceptions other than these through.
    """
    import typer

    from fedcrucible_core.config.errors import ConfigError
    from fedcrucible_core.config.plain_text import plain_text

    record = RecordFolder()
    try:
        yield record
    except typer.Exit:  # an exit code that a command has chosen, after it said why
        raise
    except ConfigError as error:
        raise _exit(MISUSED, f"error: {error}") from None
    except CommandError as error:
        raise _exit(error.code, f"error: {error}", error.hint) from None
    except KeyboardInterrupt as error:
        raise _exit(INTERRUPTED, "interrupted", str(error) or _kept(record) or "nothing was recorded") from None
    except BrokenPipeError:
        raise _quiet_pipe() from None
    except Exception as error:
        if os.environ.get(TRACEBACK_ENV) or _is_exit(error):
            raise
        message = plain_text(error, LONGEST_MESSAGE) or "no message"
        hint = f"set {TRACEBACK_ENV}=1 to see where; `fedcrucible doctor` checks this machine"
        raise _exit(FAILED, f"error: {plain_text(type(error).__name__)}: {message}", _kept(record), hint) from None


def _is_exit(error: Exception) -> bool:
    """Whether a command just ends with a code of its own."""
    import typer

    return isinstance(error, typer.Exit)


def _kept(record: RecordFolder) -> str:
    return f"rounds so far are recorded in {record.folder}" if record.folder else ""


def _exit(code: int, *lines: str) -> typer.Exit:
    import typer

    from fedcrucible_core.config.plain_text import visible_lines

    for line in lines:
        if line:
            typer.echo(visible_lines(line), err=True)
    return typer.Exit(code)


def _quiet_pipe() -> typer.Exit:
    """The reader of our output went away (``| head``): no more output, no complaint."""
    import typer

    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return typer.Exit(0)
