"""Folders that are written to, and the port of a SuperLink."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from fedcrucible.health.finding import Finding, Status
from fedcrucible_core.config.places import CACHE, DATA, RUNS, cache_folder, data_folder, flower_home, runs_folder

GROUP = "places"
SUPERLINK_PORT = 8000
LITTLE_DISK_GB = 1.0


def check() -> list[Finding]:
    """Whether records, caches, data and Flower's own files can be written."""
    return [
        _folder("run records", runs_folder, "fail", f"set {RUNS} to a folder that you can write"),
        _folder("cache", cache_folder, "warn", f"set {CACHE} to a folder that you can write"),
        _folder("data", data_folder, "warn", f"only data that has to be downloaded needs it: set {DATA}"),
        _folder("FLWR_HOME", flower_home, "warn", "only `flwr run` by hand needs it: set it to a folder you can write"),
        _port(),
    ]


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
