"""Which tests are slow, and which must run in one worker.

Slow are those marked in their own file and those that ``tests/slow_tests.txt`` lists as measured. The list names a test
by its file's name without the folders (``test_sgd.py::test_x[1]``), so that it holds when files move.
"""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
LIST = TESTS / "slow_tests.txt"
HEADER = "# Tests over three seconds of processor time: python tools/slow_tests.py --write PATHS adds, --prune drops.\n"
GROUPS: dict[str, tuple[str, ...]] = {
    "servers": (
        "tests/fedcrucible/engines/",
        "tests/fedcrucible/deploy/test_deploy_up.py",
        "tests/fedcrucible/test_demo.py",
        "tests/fedcrucible/test_your_data_page.py",
        "tests/golden/test_golden_engines.py",
    ),
}
"""Tests of one worker, one after the other: each that starts Ray or SuperNodes wants a core for itself, and one that is
starved misses the deadlines of its own nodes."""


def listed(path: Path = LIST) -> set[str]:
    """Names of the list: a test, a parametrised test without its parameters (all of them), or a whole file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {line for line in lines if line and not line.startswith("#")}


def write(names: set[str], path: Path = LIST) -> None:
    """Store the list, sorted."""
    path.write_text(HEADER + "".join(f"{name}\n" for name in sorted(names)), encoding="utf-8")


def name_of(nodeid: str) -> str:
    """A test as the list names it."""
    file, separator, test = nodeid.partition("::")
    return file.rpartition("/")[2] + separator + test


def is_slow(nodeid: str, names: set[str]) -> bool:
    """Whether a test, its function or its file is listed."""
    name = name_of(nodeid)
    return not names.isdisjoint({name, name.split("[")[0], name.split("::")[0]})


def group(nodeid: str) -> str:
    """Tests of one group run in one worker: those of a file, for they share fixtures; all that start servers."""
    return next((name for name, paths in GROUPS.items() if nodeid.startswith(paths)), nodeid.split("::")[0])


def stale(names: set[str], tests: Path = TESTS) -> set[str]:
    """Listed names whose file or function is gone."""
    files = {path.name: path for path in tests.rglob("test_*.py")}
    return {name for name in names if not _exists(name, files)}


def _exists(name: str, files: dict[str, Path]) -> bool:
    file, _, function = name.split("[")[0].partition("::")
    if file not in files:
        return False
    nodes = ast.walk(ast.parse(files[file].read_text(encoding="utf-8")))
    last = function.rpartition("::")[2]
    return not last or any(isinstance(node, ast.FunctionDef) and node.name == last for node in nodes)
