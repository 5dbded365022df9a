"""No block of more than six equal lines stands twice in the product: the one piece is moved to where both find it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

from fedcrucible_core.rooms import PACKAGES, ROOT

MOST_EQUAL_LINES = 6
FOLDERS = [ROOT / name for name in (*PACKAGES, "tools", "studies", "tests/support")]

Line = tuple[int, str]
"""Number in its file, and the text with its white space folded."""


def _free_lines(node: ast.AST) -> range:
    """Lines that may repeat: imports, and the parameters of a method, which whoever implements a contract repeats."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return range(node.lineno, (node.end_lineno or node.lineno) + 1)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return range(node.lineno, node.body[0].lineno)
    return range(0)


def _counted(source: str) -> list[Line]:
    """The lines of a module that count: not blank, no comment, no import, no parameter list."""
    free = {number for node in ast.walk(ast.parse(source)) for number in _free_lines(node)}
    lines = ((number, " ".join(text.split())) for number, text in enumerate(source.splitlines(), 1))
    return [(number, text) for number, text in lines if number not in free and text and not text.startswith("#")]


def _twice(sources: dict[str, str], length: int) -> Iterator[str]:
    """Pairs of places that share ``length`` counted lines in a row, each run of equal lines once."""
    first: dict[Sequence[str], tuple[str, int]] = {}
    for name, source in sources.items():
        lines = _counted(source)
        previous: tuple[str, int] | None = None
        for start in range(len(lines) - length + 1):
            block = tuple(text for _, text in lines[start : start + length])
            where = (name, lines[start][0])
            there = first.setdefault(block, where)
            if there != where and previous is None:
                yield f"{name}:{where[1]} repeats {there[0]}:{there[1]}: {block[0]}"
            previous = None if there == where else there


def _sources() -> dict[str, str]:
    files = (path for folder in FOLDERS for path in sorted(Path(folder).rglob("*.py")))
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in files}


def test_no_block_stands_twice() -> None:
    repeated = list(_twice(_sources(), MOST_EQUAL_LINES + 1))
    assert not repeated, "\n".join(["blocks of more than six equal lines; move each to one place:", *repeated])


BLOCK = "\n".join(f"    step_{number}()" for number in range(MOST_EQUAL_LINES + 1))


def test_a_copied_block_is_found_once_with_both_places() -> None:
    sources = {"a.py": f"def one():\n{BLOCK}\n    end()\n", "b.py": f"import x\n\ndef two(a):\n{BLOCK}\n    end()\n"}
    assert list(_twice(sources, MOST_EQUAL_LINES + 1)) == ["b.py:4 repeats a.py:2: step_0()"]


def test_six_lines_imports_and_signatures_may_repeat() -> None:
    names = "\n".join(f"    name_{number}," for number in range(9))
    free = f"from x import (\n{names}\n)\n\ndef step(\n{names}\n):\n"
    body = "\n".join(BLOCK.splitlines()[1:])
    sources = {"a.py": f"{free}{body}\n    return 1\n", "b.py": f"{free}{body}\n    return 2\n"}
    assert list(_twice(sources, MOST_EQUAL_LINES + 1)) == []
