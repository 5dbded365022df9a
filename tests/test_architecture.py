"""A room imports only from the rooms below it, and no module, however far round, imports itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from fedcrucible_core.rooms import PACKAGES, ROOMS, ROOT

CORE = {"fedcrucible_core.config", "fedcrucible_core.learning", "fedcrucible_core.foundation"}
RECORDS = {"fedcrucible_core.config", "fedcrucible_core.records"}
STATISTICS, CHARTS, PAGES = (f"fedcrucible_core.reports.{part}" for part in ("statistics", "charts", "pages"))
DEFENSES = {"defenses", "defenses.kernels", "defenses.support"}
PLAN, EXECUTION, TABLES = (f"fedcrucible.comparison.{part}" for part in ("plan", "execution", "tables"))
BELOW_THE_FACE = {*CORE, *RECORDS, "attacks", *DEFENSES, "strategies", "client_app", "server_app"}

ALLOWED: dict[str, set[str]] = {
    # room: the rooms that it may import from; the innermost room that holds a module counts
    "fedcrucible_core": set(),
    "fedcrucible_core.rooms": set(),
    "fedcrucible_core.config": {"fedcrucible_core.rooms"},
    "fedcrucible_core.testing": {"fedcrucible_core.config"},
    "fedcrucible_core.learning": {"fedcrucible_core.config"},
    "fedcrucible_core.foundation": {"fedcrucible_core.config", "fedcrucible_core.learning"},
    "fedcrucible_core.records": {"fedcrucible_core.rooms", "fedcrucible_core.config", "fedcrucible_core.learning"},
    STATISTICS: RECORDS,
    CHARTS: RECORDS | {STATISTICS},
    PAGES: RECORDS | {STATISTICS, CHARTS},
    "fedcrucible_core.reports": {CHARTS, PAGES},
    "attacks": CORE,
    "attacks.support": CORE | {"attacks"},
    "attacks.poisoners": CORE | {"attacks", "attacks.support"},
    "attacks.uploads": CORE | {"attacks", "attacks.support"},
    "attacks.compromises": CORE | {"attacks", "attacks.support"},
    "attacks.contracts": CORE | {"attacks", "attacks.support"},
    "defenses.kernels": {"fedcrucible_core.learning"},
    "defenses": CORE | {"defenses.kernels"},
    "defenses.support": CORE | {"defenses", "defenses.kernels"},
    "defenses.rules": CORE | DEFENSES,
    "defenses.purifiers": CORE | DEFENSES,
    "defenses.repairs": CORE | DEFENSES,
    "defenses.contracts": CORE | DEFENSES,
    "defenses.splitters": CORE | DEFENSES,
    "strategies": CORE | DEFENSES,
    "client_app": CORE | {"attacks", "strategies"},
    "server_app": CORE | RECORDS | DEFENSES | {"attacks", "attacks.support", "strategies", PAGES},
    "fedcrucible.engines": BELOW_THE_FACE | {"fedcrucible_core.rooms"},
    PLAN: BELOW_THE_FACE | {STATISTICS},
    EXECUTION: BELOW_THE_FACE | {PLAN, PAGES, "fedcrucible", "fedcrucible.engines"},
    TABLES: BELOW_THE_FACE | {PLAN, EXECUTION, STATISTICS, CHARTS, PAGES, "fedcrucible", "fedcrucible.papers"},
    "fedcrucible.comparison": RECORDS
    | {PLAN, EXECUTION, TABLES, STATISTICS, "fedcrucible", "fedcrucible.engines", "fedcrucible_core.reports"},
    "fedcrucible.papers": {"fedcrucible_core.config"},
    "fedcrucible.incident": {*CORE, *RECORDS, *DEFENSES, "strategies", "server_app", "fedcrucible"},
    "fedcrucible.flower": BELOW_THE_FACE | RECORDS | {PAGES},
    "fedcrucible.health": CORE | RECORDS | {"fedcrucible.engines", "fedcrucible.sites"},
    "fedcrucible.sites": RECORDS | {"fedcrucible.engines", "strategies"},
    "fedcrucible.deploy": BELOW_THE_FACE | {"fedcrucible.engines"},
    "fedcrucible.rehearsal": BELOW_THE_FACE | {"fedcrucible", "fedcrucible.engines", "fedcrucible.sites"},
    "fedcrucible.commands": {"*"},
    "fedcrucible": {"*"},
}


def _room(module: str) -> str:
    parts = module.split(".")
    return next(
        (room for end in range(len(parts), 0, -1) if (room := ".".join(parts[:end])) in ALLOWED),
        parts[0],
    )


def _module(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def _imports(path: Path, everywhere: bool = True) -> Iterator[str]:
    """Every module that a file imports; ``everywhere`` = inside functions too, where a circle does no harm."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                inner = ROOT / Path(*node.module.split("."), f"{alias.name}.py")
                package = inner.with_suffix("") / "__init__.py"
                yield f"{node.module}.{alias.name}" if inner.is_file() or package.is_file() else node.module


FILES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_imports_go_down_only(room: str) -> None:
    ours = {*PACKAGES, "tools", "studies", "tests"} - {"fedcrucible_assets"}
    allowed = ALLOWED[room]
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in FILES
        if _room(_module(path)) == room
        for name in set(_imports(path))
        if name.split(".")[0] in ours
        and _room(name) != room
        and _room(name) not in allowed
        and not ("*" in allowed and name.split(".")[0] in ROOMS)
    ]
    assert wrong == []


def test_no_room_is_above_itself() -> None:
    graph = {room: below - {"*"} for room, below in ALLOWED.items() if "*" not in below}
    graph["fedcrucible"] = set()  # the few modules that all commands share; what they import is checked by name above
    list(TopologicalSorter(graph).static_order())


def test_no_module_imports_itself_in_a_circle() -> None:
    names = {_module(path) for path in FILES}
    graph = {_module(path): {n for n in _imports(path, everywhere=False) if n in names} for path in FILES}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"import circle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("room", ["attacks", "defenses", "fedcrucible_core"])
def test_algorithms_know_no_flower(room: str) -> None:
    wrong = [p for p in (ROOT / room).rglob("*.py") if {"flwr", "ray"} & {n.split(".")[0] for n in _imports(p)}]
    assert wrong == []
