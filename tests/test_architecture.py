"""A room imports only from the rooms below it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = {
    "config": set(),
    "learning": {"config"},
    "foundation": {"config", "learning"},
    "attacks": {"config", "learning", "foundation"},
    "defenses": {"config", "learning", "foundation"},
    "strategies": {"config", "learning", "foundation", "defenses"},
    "client_app": {"config", "learning", "attacks", "strategies"},
    "server_app": {"config", "learning", "foundation", "attacks", "defenses", "strategies"},
    "runner": {"config", "learning", "foundation", "attacks", "defenses", "strategies", "client_app", "server_app"},
    "fedcrucible": {"runner"},
}


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_imports_go_down_only(room: str) -> None:
    rooms = {*ALLOWED, "scripts", "benchmarks", "tests"}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sorted((ROOT / room).rglob("*.py"))
        for name in set(_imports(path))
        if name in rooms and name != room and name not in ALLOWED[room]
    ]
    assert wrong == []


@pytest.mark.parametrize("room", ["attacks", "defenses", "learning", "foundation", "config"])
def test_algorithms_know_no_flower(room: str) -> None:
    wrong = [p for p in (ROOT / room).rglob("*.py") if {"flwr", "ray"} & set(_imports(p))]
    assert wrong == []
