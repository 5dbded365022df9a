"""Where a run's folder goes: always absolute, never among Flower's unpacked apps."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from fedcrucible_core.config.errors import ConfigError
from fedcrucible_core.config.places import runs_folder
from fedcrucible_core.config.sections import OutputSection
from fedcrucible_core.records.lock import FolderBusyError, only_writer

_OF_THE_NAME = (errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL)
"""Errors that another name would mend."""


@contextlib.contextmanager
def claimed_folder(
    output: OutputSection, strategy: str, attack: str, seed: int, *, resume: bool = False
) -> Iterator[Path]:
    """The folder of one run, with nobody else writing to it as long as this lasts; see ``run_folder``.

    Raises ConfigError as ``run_folder`` does, and when another run is writing there.
    """
    folder = run_folder(output, strategy, attack, seed, resume=resume)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(only_writer(folder))
        except FolderBusyError:
            allowed = f"another run is writing to {folder}; wait for its end, or choose another name"
            raise ConfigError("output.name", folder.name, allowed) from None
        except OSError as error:
            raise _unusable(folder.parent, folder.name, error) from None
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise ConfigError("output.name", folder.name, f"{folder} can't be written to; choose another name")
        if output.name:  # asked again: another run may have come and gone before the folder was ours
            run_folder(output, strategy, attack, seed, resume=resume)
        yield folder


def run_folder(output: OutputSection, strategy: str, attack: str, seed: int, *, resume: bool = False) -> Path:
    """Create and return the folder of one run.

    Without ``output.name`` it is a new ``strategy-attack-seedN-timestamp``. With a name it is exactly that one: an
    existing non-empty folder raises ConfigError unless ``resume``. ``resume`` without a name raises ConfigError, and so
    does a place where no folder can be made.
    """
    base = runs_folder(output.dir)
    try:
        return _made(base, output, strategy, attack, seed, resume)
    except OSError as error:
        raise _unusable(base, output.name, error) from None


def _made(base: Path, output: OutputSection, strategy: str, attack: str, seed: int, resume: bool) -> Path:
    if output.name:
        if output.name in {".", ".."} or not re.fullmatch(r"[\w.+ -]+", output.name):
            raise ConfigError("output.name", output.name, "one folder name: letters, digits, '.', '_', '+', '-', ' '")
        folder = base / output.name
        if folder.is_dir() and any(folder.iterdir()) and not resume:
            raise ConfigError("output.name", output.name, f"{folder} has content; set run.resume or another name")
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    if resume:
        raise ConfigError("run.resume", resume, "needs output.name, the record folder to continue")
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    stem = "-".join([_plain(strategy), _plain(attack), f"seed{seed}", stamp])
    base.mkdir(parents=True, exist_ok=True)
    for number in range(1, 10_000):
        folder = base / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise ConfigError("output.dir", str(base), f"too many runs called {stem}")


def _unusable(base: Path, name: str, error: OSError) -> ConfigError:
    """Why no record can be made there, by the setting that is to blame."""
    reason = "it is no folder" if error.errno == errno.EEXIST else error.strerror or str(error)
    if name and os.access(base, os.X_OK) and error.errno in _OF_THE_NAME:
        return ConfigError("output.name", name, f"{base / name} can't be used: {reason}; choose another name")
    return ConfigError("output.dir", str(base), f"can't be used: {reason}; choose another folder")


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_+-]+", "_", name).strip("_-") or "unnamed"
