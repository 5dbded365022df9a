"""A matrix' numbers on the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from fedcrucible.catalogue_text import console
from fedcrucible.comparison.execution.display import in_words
from fedcrucible.comparison.tables.document import FLAW_MARK, remarks, setting_groups, warnings
from fedcrucible.comparison.tables.outcome import Outcome
from fedcrucible_core.records.files import REPORT
from fedcrucible_core.reports.pages.grid import MISSING
from fedcrucible_core.reports.pages.matrix_words import legend
from fedcrucible_core.reports.statistics.measures import MEASURES
from fedcrucible_core.reports.statistics.spots import Spot, notes_by_place
from fedcrucible_core.reports.statistics.spread import Spread

WIDEST_HEAD, LEAST_NAME = 14, 16
"""Characters of a heading's line, and of the names of systems however many numbers stand beside them."""


def print_outcome(outcome: Outcome, folder: Path) -> None:
    """The numbers, one line per system and attack, so that it fits 80 columns."""
    paper = outcome.paper.numbers if outcome.paper is not None else ()
    apart = [number.name for number in paper if number.drop or number.ours not in outcome.matrix.numbers]
    table = Table(title=outcome.matrix.title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    if outcome.matrix.column_axis or outcome.matrix.block_axes:
        table.add_column(outcome.matrix.column_axis or "", overflow="fold")
    table.add_column(outcome.matrix.system_axis, overflow="fold", min_width=LEAST_NAME)
    shown = [MEASURES[column] for column in outcome.matrix.numbers]
    heads = [number.title if number.unit == "%" else number.unit or number.title for number in shown]
    papers = [f"paper {number.name}" for number in paper]
    for name in (*heads, *apart, *papers, *(("seeds",) if _several(outcome) else ())):
        table.add_column("\n".join(textwrap.wrap(name, WIDEST_HEAD)), justify="right", no_wrap=True)
    for spot in outcome.spots:
        _add(table, outcome, spot, apart, len(paper))
    console().print(table)
    flawed = any(spot.standing.left_out for spot in outcome.spots)
    marks = f" {FLAW_MARK}: not compared; the reason stands below." if flawed else ""
    typer.echo(f"{legend(outcome.spots, outcome.usual_seeds)} Best values are marked *.{marks}")
    for number in shown:
        if number.column not in ("ma", "asr") and number.meaning:
            typer.echo(f"{number.title}: {number.of or number.meaning}.")
    for text in warnings(outcome):
        typer.echo(f"warning: {text}")
    for text in remarks(outcome):
        typer.echo(f"- {text}")
    for text in notes_by_place(outcome.spots):
        typer.echo(f"note: {text}")
    for title, rows in setting_groups(outcome):
        if any(reason for _, _, reason in rows):
            typer.echo(f"\n{title}:")
            for key, value, reason in rows:
                typer.echo(f"  {key} = {value}: {reason}")
    results = outcome.results
    failed = f", {results.failed} of them failed" if results.failed else ""
    typer.echo(f"\ntook {in_words(outcome.seconds)}, {results.ran} of {results.runs} runs made now{failed}")
    typer.echo(f"records and tables: {folder}")
    typer.echo(f"report: {folder / REPORT}")


def _add(table: Table, outcome: Outcome, spot: Spot, apart: Sequence[str], papers: int) -> None:
    title = spot.title
    if spot.weak:
        title += " (weak attack)"
    for number, row in enumerate(spot.rows):
        cells = [escape(title if number == 0 else "")] if table.columns[0].header != outcome.matrix.system_axis else []
        cells += [
            escape(f"{row.label} {FLAW_MARK}" if spot.aside(row) else row.label),
            *(_number(row.spread_of(column), row.label in _best(spot, column)) for column in outcome.matrix.numbers),
        ]
        ours = {one.name: one.ours for one in row.paper}
        cells += [_number(ours.get(name), best=False) for name in apart]
        cells += [escape(one.text()) for one in row.paper] or [MISSING] * papers
        seeds = [str(len(row.seeds))] if _several(outcome) else []
        table.add_row(*cells, *seeds, end_section=number == len(spot.rows) - 1)


def _several(outcome: Outcome) -> bool:
    """Whether the number of seeds tells anything: with one column more a wide table doesn't fit 80 columns."""
    return outcome.usual_seeds > 1 or outcome.matrix.numbers == ("ma", "asr")


def _best(spot: Spot, column: str) -> frozenset[str]:
    return {"ma": spot.best.ma, "asr": spot.best.asr}.get(column, frozenset())


def _number(found: Spread | None, best: bool) -> str:
    if found is None:
        return MISSING
    text = f"{found.mean:.2f}" + ("" if found.high is None else f" ± {found.high - found.mean:.2f}")
    return f"[bold]*{text}[/]" if best else text
