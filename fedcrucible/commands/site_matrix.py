"""``fedcrucible site matrix``: what the model is worth to each site after each round, as the sites say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcrucible.failures import CommandError, clear_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedcrucible_core.records.site_matrix import SiteMatrix, SiteRow

MARKS = {"dropped": "dropped", "absent": "absent", "excluded": "excl.", "not-asked": "."}
REFUSED = "refused"
CELL, FIXED = 10, 42
"""Columns of a screen that one round takes, and that the others take."""


def command(
    record: Annotated[Path, typer.Argument(metavar="RECORD", help="A run's record folder, finished or not.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, as in sites.json.")] = False,
) -> None:
    """Show what the model is worth to each site after each round: MA, and ASR where a site allows it.

    Sites say so themselves, where federation.fraction_evaluate asks them; the server only checks and counts. Of a
    running record it is what is known so far.
    """
    with clear_errors():
        from fedcrucible_core.records import files
        from fedcrucible_core.records.events import node_names
        from fedcrucible_core.records.reader import DamagedRecordError, read_rounds
        from fedcrucible_core.records.site_matrix import site_matrix

        if not (record / files.RUN).is_file():
            raise CommandError(f"{record} is no run record: it has no {files.RUN}")
        try:
            matrix = site_matrix(read_rounds(record / files.METRICS), node_names(record / files.EVENTS))
        except DamagedRecordError as error:
            raise CommandError(str(error)) from None
        if as_json:
            typer.echo(matrix.model_dump_json())
        elif not matrix.rounds:
            typer.echo("no site was asked: federation.fraction_evaluate says which share of them measures")
        else:
            _print(matrix)


def _print(matrix: SiteMatrix) -> None:
    from fedcrucible.catalogue_text import console

    out = console()
    most = max(1, (out.width - FIXED) // CELL)
    _print_map(matrix, "MA by site and round (%)", _ma, most)
    if any(row.asr_allowed is False or any(v is not None for v in row.asr_percent) for row in matrix.sites):
        _print_map(matrix, "ASR by site and round (%)", _asr, most)
    if matrix.worst_site is not None:
        typer.echo(
            f"worst off: site {matrix.worst_site}, MA {matrix.ma_worst_percent:.2f} %; "
            f"best minus worst: {matrix.ma_gap_points:.2f} points"
        )
    if matrix.dropped:
        typer.echo(f"answers dropped: {matrix.dropped}; the last of each site:")
        for row in matrix.sites:
            for number, cause in list(row.causes.items())[-1:]:
                typer.echo(f"  site {row.site}, round {number}: {cause}")


def _print_map(matrix: SiteMatrix, title: str, cell: Callable[[SiteRow, int], str], most: int) -> None:
    from rich.table import Table
    from rich.text import Text

    from fedcrucible.catalogue_text import console
    from fedcrucible_core.config.plain_text import plain_text

    places = range(max(0, len(matrix.rounds) - most), len(matrix.rounds))
    left = f", the last {len(places)} of {len(matrix.rounds)}" if len(places) < len(matrix.rounds) else ""
    table = Table(title=f"{title}{left}", title_justify="left", box=None, pad_edge=False)
    for name in ("site", "node", "examples"):
        table.add_column(name, justify="left" if name == "node" else "right", no_wrap=True, overflow="ellipsis")
    for place in places:
        repaired = matrix.repaired and place == len(matrix.rounds) - 1
        table.add_column("repaired" if repaired else str(matrix.rounds[place]), justify="right", no_wrap=True)
    for row in matrix.sites:
        examples = "-" if row.examples is None else str(row.examples)
        table.add_row(str(row.site), Text(plain_text(row.name, 20)), examples, *(cell(row, place) for place in places))
    console().print(table)


def _ma(row: SiteRow, place: int) -> str:
    return _shown(row, place, row.ma_percent[place])


def _asr(row: SiteRow, place: int) -> str:
    if row.asr_percent[place] is None and row.state[place] == "measured":
        return REFUSED if row.asr_allowed is False else "-"
    return _shown(row, place, row.asr_percent[place])


def _shown(row: SiteRow, place: int, value: float | None) -> str:
    return MARKS.get(row.state[place], "-") if value is None else f"{value:.2f}"
