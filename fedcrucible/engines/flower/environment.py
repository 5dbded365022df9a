"""The environment in which Flower's processes run: quiet, offline, with a home and a port of the project's own."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import sys
import zlib
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from fedcrucible.engines.flower.proxies import loopback_exempt
from fedcrucible_core.config.places import cache_folder

PROJECT = Path(__file__).resolve().parents[3]
"""The checkout: the folder of pyproject.toml, which ``flwr run`` needs."""

SETTINGS: Mapping[str, str] = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    # Otherwise every run installs the app's dependencies anew, from the network, into an environment of its own.
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Clients without a share of a GPU of their own still see the one that run.device names.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "OMP_NUM_THREADS": "1",
    # glibc returns freed memory late: models are copied often, and fresh pages cost more than the copies.
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    "MALLOC_TOP_PAD_": "67108864",
}
KEPT_APPS = 3
"""Unpacked versions of this app that stay in a FLWR_HOME."""


def flower_environment(home: Path, port: int | None = None) -> dict[str, str]:
    """This process's environment with what Flower's processes need on top.

    ``home`` becomes FLWR_HOME; ``port`` is where ``flwr run`` starts and finds its local SuperLink.
    """
    environment = {**os.environ, **SETTINGS, **loopback_exempt(os.environ), "FLWR_HOME": str(home)}
    scripts = str(Path(sys.executable).parent)  # flwr starts flower-superlink and its kin by name
    environment["PATH"] = os.pathsep.join([scripts, environment.get("PATH", os.defpath)])
    if port is not None:
        environment["FLWR_LOCAL_SUPERLINK_HTTP_API_PORT"] = str(port)
    return environment


def project_home() -> Path:
    """FLWR_HOME for ``flwr`` by hand: ``.flwr`` in the checkout, or in the cache folder where there is none to write.

    An installed package lies in site-packages, where nothing is written.
    """
    if (PROJECT / "pyproject.toml").is_file() and os.access(PROJECT, os.W_OK | os.X_OK):
        return PROJECT / ".flwr"
    return cache_folder() / "flwr"


def project_port(home: Path) -> int:
    """A port that belongs to this home: every command finds it again, and other projects' SuperLinks don't."""
    return 20_000 + zlib.crc32(str(home).encode()) % 10_000


def shell_exports() -> str:
    """Lines for a shell in which ``flwr run .`` is typed by hand: ``eval "$(fedcrucible flower-env)"``.

    They export the environment and define ``flower_stop``: the SuperLink that ``flwr`` starts would stay up for good.
    """
    home = project_home()
    prune_apps(home)
    chosen = flower_environment(home, project_port(home))
    names = [*SETTINGS, *loopback_exempt(os.environ), "FLWR_HOME", "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT"]
    lines = [f"export {name}={shlex.quote(chosen[name])}" for name in names]
    scripts = shlex.quote(str(Path(sys.executable).parent))
    pattern = "flower-superlink .*--port $FLWR_LOCAL_SUPERLINK_HTTP_API_PORT"
    return "\n".join([*lines, f'export PATH={scripts}:"$PATH"', f'flower_stop() {{ pkill -f "{pattern}"; }}'])


def prune_apps(home: Path) -> None:
    """Remove all but the newest unpacked versions of this app; Flower itself never does."""
    found = sorted((home / "apps").glob("fedcrucible.fedcrucible.*"), key=lambda folder: folder.stat().st_mtime)
    for folder in found[:-KEPT_APPS]:
        shutil.rmtree(folder, ignore_errors=True)


def free_ports(count: int) -> list[int]:
    """Distinct TCP ports of the loopback interface that nobody listens on now."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def cpu_count() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
