"""Which tests are slow: those marked in their own file, and those that ``tests/slow_tests.txt`` lists as measured."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
LIST = TESTS / "slow_tests.txt"
HEADER = "# Tests over three seconds of processor time: python tools/slow_tests.py --write PATHS adds, --prune drops.\n"

SERVERS = ("tests/fedcrucible/engines/", "tests/fedcrucible/test_demo.py", "tests/fedcrucible/test_your_data_page.py",
           "tests/golden/test_golden_engines.py")  # fmt: skip
"""Tests that start Ray or SuperLinks: one after the other, for each such program wants the machine for itself."""


def listed(path: Path = LIST) -> set[str]:
    """Node ids of the list: a test, a parametrised test without its parameters (all of them), or a whole file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {line for line in lines if line and not line.startswith("#")}


def write(names: set[str], path: Path = LIST) -> None:
    """Store the list, sorted."""
    path.write_text(HEADER + "".join(f"{name}\n" for name in sorted(names)), encoding="utf-8")


def is_slow(nodeid: str, names: set[str]) -> bool:
    """Whether a test, its function or its file is listed."""
    return not names.isdisjoint({nodeid, nodeid.split("[")[0], nodeid.split("::")[0]})


def group(nodeid: str) -> str:
    """Tests of one group run in one worker: those of a file, for they share fixtures; all that start servers."""
    return "servers" if nodeid.startswith(SERVERS) else nodeid.split("::")[0]


def stale(names: set[str], root: Path = TESTS.parent) -> set[str]:
    """Listed names whose file or function is gone."""
    return {name for name in names if not _exists(name, root)}


def _exists(name: str, root: Path) -> bool:
    file, _, function = name.split("[")[0].partition("::")
    path = root / file
    if not path.is_file():
        return False
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return not function or any(isinstance(node, ast.FunctionDef) and node.name == function for node in tree.body)
