"""A matrix' numbers on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import typer
from rich.markup import escape

from fedcrucible.catalogue_text import console
from fedcrucible.comparison.execution.display import in_words
from fedcrucible.comparison.tables.document import FLAW_MARK, remarks, setting_groups, warnings
from fedcrucible.comparison.tables.fitting_table import FittingRow, FittingTable
from fedcrucible.comparison.tables.outcome import Outcome
from fedcrucible_core.records.files import REPORT
from fedcrucible_core.reports.pages.grid import MISSING
from fedcrucible_core.reports.pages.matrix_words import legend
from fedcrucible_core.reports.statistics.measures import MEASURES
from fedcrucible_core.reports.statistics.spots import Spot, notes_by_place
from fedcrucible_core.reports.statistics.spread import Spread


def print_outcome(outcome: Outcome, folder: Path) -> None:
    """The numbers, one line per system and attack, so that it fits 80 columns."""
    paper = outcome.paper.numbers if outcome.paper is not None else ()
    apart = [number.name for number in paper if number.drop or number.ours not in outcome.matrix.numbers]
    shown = [MEASURES[column] for column in outcome.matrix.numbers]
    columns = (
        *(number.title if number.unit == "%" else number.unit or number.title for number in shown),
        *apart,
        *(f"paper {number.name}" for number in paper),
        *(("seeds",) if _several(outcome) else ()),
    )
    lines = tuple(line for spot in outcome.spots for line in _lines(outcome, spot, apart, len(paper)))
    FittingTable(outcome.matrix.title, _name_columns(outcome), columns, lines).print(console())
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


def _name_columns(outcome: Outcome) -> tuple[str, ...]:
    """Headings of the names; a system that stands everywhere alone needs no column of its own."""
    several = len({row.label for spot in outcome.spots for row in spot.rows}) > 1
    if not (outcome.matrix.column_axis or outcome.matrix.block_axes):
        return (outcome.matrix.system_axis,)
    return (_place(outcome), outcome.matrix.system_axis) if several else (_place(outcome),)


def _place(outcome: Outcome) -> str:
    return outcome.matrix.column_axis or ""


def _lines(outcome: Outcome, spot: Spot, apart: Sequence[str], papers: int) -> Iterator[FittingRow]:
    title = spot.title + (" (weak attack)" if spot.weak else "")
    headings = _name_columns(outcome)
    for number, row in enumerate(spot.rows):
        system = f"{row.label} {FLAW_MARK}" if spot.aside(row) else row.label
        named = {
            outcome.matrix.system_axis: system,
            _place(outcome): title if number == 0 or len(headings) == 1 else "",
        }
        ours = {one.name: one.ours for one in row.paper}
        numbers = (
            *(_number(row.spread_of(column), row.label in _best(spot, column)) for column in outcome.matrix.numbers),
            *(_number(ours.get(name), best=False) for name in apart),
            *([escape(one.text()) for one in row.paper] or [MISSING] * papers),
            *([str(len(row.seeds))] if _several(outcome) else []),
        )
        names = tuple(escape(named[heading]) for heading in headings)
        yield FittingRow(names, numbers, ends_section=1 < number + 1 == len(spot.rows))


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
