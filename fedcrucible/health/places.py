"""Folders that are written to, and the port of a SuperLink."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from fedcrucible.health.finding import Finding, Status

GROUP = "places"
SUPERLINK_PORT = 8000
LITTLE_DISK_GB = 1.0


def check() -> list[Finding]:
    """Whether records, caches and Flower's own files can be written."""
    return [
        _folder("run records", _runs, "fail", "set FEDCRUCIBLE_RUNS to a folder that you can write"),
        _folder("cache", _cache, "warn", "set guide.cache_dir to a folder that you can write, or XDG_CACHE_HOME"),
        _folder(
            "FLWR_HOME",
            _flower,
            "warn",
            "only `flwr run` by hand needs it: set it to a folder you can write",
        ),
        _port(),
    ]


def _runs() -> Path:
    from fedcrucible_core.config.sections import OutputSection
    from fedcrucible_core.records.location import base_folder

    return base_folder(OutputSection.model_validate({}))


def _cache() -> Path:
    from fedcrucible_core.foundation.cache import cache_folder

    return cache_folder()


def _flower() -> Path:
    return Path(os.environ.get("FLWR_HOME") or Path.home() / ".flwr").expanduser()


def _folder(name: str, find: Callable[[], Path], otherwise: Status, todo: str) -> Finding:
    try:
        folder = find()
        place = _existing(folder)
        with tempfile.TemporaryFile(dir=place):
            pass
        free = shutil.disk_usage(place).free / 1e9
    except (OSError, ValueError) as error:
        return Finding(GROUP, name, otherwise, str(error), todo)
    if free < LITTLE_DISK_GB:
        return Finding(GROUP, name, "warn", f"{folder}: {free:.2f} GB free", "make room")
    return Finding(GROUP, name, "ok", f"{folder} ({free:.0f} GB free)")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists: nothing is created by looking."""
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder


def _port() -> Finding:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        taken = probe.connect_ex(("127.0.0.1", SUPERLINK_PORT)) == 0
    name = f"port {SUPERLINK_PORT}"
    if taken:
        todo = "a SuperLink here already? Else start yours with another port"
        return Finding(GROUP, name, "warn", "something listens there", todo)
    return Finding(GROUP, name, "ok", "free for a SuperLink")
