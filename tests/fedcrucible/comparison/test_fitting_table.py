"""Tables of many numbers keep every name and every number, whatever the width of the screen."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from fedcrucible.comparison.tables.fitting_table import FittingRow, FittingTable

NAMES = ("a place with a long name", "a system with a name that is longer than any screen allows for it")
TABLE = FittingTable(
    "Numbers",
    ("where", "system"),
    tuple(f"figure {n}" for n in range(7)),
    tuple(FittingRow(NAMES, tuple(f"[bold]*8{row}.{n}0 ± 1{n}.99[/]" for n in range(7))) for row in range(3)),
)


def shown(width: int, *, terminal: bool, table: FittingTable = TABLE) -> str:
    out = io.StringIO()
    table.print(Console(file=out, width=width, force_terminal=terminal, color_system=None, legacy_windows=False))
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_a_terminal_gets_parts_that_fit_and_hold_all(width: int) -> None:
    text = shown(width, terminal=True)
    assert all(f"*8{row}.{n}0 ± 1{n}.99" in text for row in range(3) for n in range(7))
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    assert text.count("Numbers") == 1, "the title stands once"


def test_parts_repeat_the_names_and_no_number() -> None:
    text = shown(80, terminal=True)
    parts = text.count("where")
    assert parts > 1
    assert text.count("figure 0") == text.count("figure 6") == 1
    assert "".join(text.split()).count("aplace") == 3 * parts


def test_a_file_gets_one_table_with_a_line_a_row() -> None:
    lines = [line for line in shown(80, terminal=False).splitlines() if NAMES[1] in line]
    assert len(lines) == 3
    assert all(f"*80.{n}0" in lines[0] for n in range(7))


def test_a_wide_screen_needs_one_part() -> None:
    assert shown(400, terminal=True).count("where") == 1


def test_a_table_without_rows_or_numbers_is_a_heading() -> None:
    assert "system" in shown(80, terminal=True, table=FittingTable("Nothing", ("system",), (), ()))
    assert "MA" in shown(80, terminal=True, table=FittingTable("Nothing", ("system",), ("MA",), ()))
