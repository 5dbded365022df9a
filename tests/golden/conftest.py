"""Caches and records of the golden runs lie in folders of their own; what can't be compared exactly is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.golden.digest import Golden, Machine, recorded, this_machine


@pytest.fixture(scope="session")
def golden() -> Golden:
    """The digests that are written down."""
    return recorded()


@pytest.fixture(scope="session")
def exact(golden: Golden) -> bool:
    """Whether this machine must give equal hashes."""
    return this_machine() == golden.machine


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of run records."""
    return tmp_path_factory.mktemp("golden")


@pytest.fixture(scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")  # one for all: embeddings are kept by content


@pytest.fixture(autouse=True, scope="module")
def _own_folders(_cache: Path, records: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(_cache))
        patch.setenv("FEDCRUCIBLE_RUNS", str(records))
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how the digests were compared, if any were: a pass within tolerances is less than one by hashes."""
    ran = [r for key in ("passed", "failed") for r in terminalreporter.getreports(key) if "test_golden" in r.nodeid]
    if ran:
        terminalreporter.write_line(how_compared(recorded().machine, this_machine()))


def how_compared(golden: Machine, here: Machine) -> str:
    """One line: by hashes, or within tolerances and why."""
    if golden == here:
        return "golden digests: compared by hashes, on the processor and versions they were recorded with"
    old, new = golden.model_dump() | golden.packages, here.model_dump() | here.packages
    other = [f"{key} {new[key]!r} (recorded {old[key]!r})" for key in old if key != "packages" and old[key] != new[key]]
    return f"golden digests: compared WITHIN TOLERANCES, not by hashes: {', '.join(other)}"
