"""Versions and machine of a run; nothing here may fail a run."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from fedcrucible_core.records.schema import Environment
from fedcrucible_core.rooms import ROOMS

PACKAGES = (
    "flwr", "torch", "torchvision", "numpy", "scipy", "scikit-learn", "hdbscan", "transformers", "safetensors",
    "pydantic", "ray", "matplotlib",
)  # fmt: skip
ROOT = Path(__file__).resolve().parents[2]


def collect_environment(device: str = "", device_name: str = "", threads: int = 0) -> Environment:
    """Describe this process; what can't be found out stays empty."""
    commit, dirty = git_state(ROOT)
    return Environment(
        started_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        python=platform.python_version(),
        packages={name: version for name in PACKAGES if (version := version_of(name))},
        platform=platform.platform(),
        processor=processor(),
        cpu_count=os.cpu_count() or 0,
        device=device,
        device_name=device_name,
        threads=threads,
        git_commit=commit,
        git_dirty=dirty,
        source_sha256=source_digest(ROOT),
        command=tuple(sys.argv),
    )


def git_state(root: Path) -> tuple[str | None, bool | None]:
    """Commit of the checkout whose top is ``root``, and whether it has changes; (None, None) outside one."""
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top.strip()).resolve() != root:
        return None, None
    commit, status = _git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain")
    return (commit.strip() if commit else None), (None if status is None else bool(status.strip()))


def source_digest(root: Path) -> str:
    """SHA-256 over the names and contents of the project's Python files (tests excluded); empty when unreadable."""
    digest = hashlib.sha256()
    try:
        for room in ROOMS:
            for path in sorted((root / room).rglob("*.py")):
                if path.name.startswith("test_") or path.name.endswith("_test.py"):
                    continue
                digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    except OSError:
        return ""
    return digest.hexdigest()


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.SubprocessError, UnicodeError):
        return None
    return done.stdout if done.returncode == 0 else None


def version_of(name: str) -> str:
    """The installed version of a package; empty when it isn't installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def processor() -> str:
    """The processor's own name, or its kind."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
