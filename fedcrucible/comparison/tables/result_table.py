"""A matrix' numbers on the terminal."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from fedcrucible.catalogue_text import console
from fedcrucible.comparison.execution.display import in_words
from fedcrucible.comparison.tables.document import FLAW_MARK, findings, legend, place, remarks, setting_groups, warnings
from fedcrucible.comparison.tables.outcome import Outcome
from fedcrucible.comparison.tables.tables import MISSING
from fedcrucible.comparison.tables.verdicts import Spot
from fedcrucible_core.records.files import REPORT
from fedcrucible_core.reports.statistics.spread import Spread


def print_outcome(outcome: Outcome, folder: Path) -> None:
    """The numbers, one line per system and attack, so that it fits 80 columns."""
    paper = any(row.paper for spot in outcome.spots for row in spot.rows)
    table = Table(title=outcome.matrix.title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    if outcome.matrix.column_axis or outcome.matrix.block_axes:
        table.add_column(outcome.matrix.column_axis or "", overflow="fold")
    table.add_column(outcome.matrix.system_axis, overflow="fold")
    for name in ("MA", "ASR", *(("paper MA", "paper ASR") if paper else ()), "seeds"):
        table.add_column(name, justify="right", no_wrap=True)
    for spot in outcome.spots:
        _add(table, outcome, spot, paper)
    console().print(table)
    flawed = any(spot.standing.left_out for spot in outcome.spots)
    marks = f" {FLAW_MARK}: not compared; the reason stands below." if flawed else ""
    typer.echo(f"{legend(outcome)} Best values are marked *.{marks}")
    for text in warnings(outcome):
        typer.echo(f"warning: {text}")
    for text in remarks(outcome):
        typer.echo(f"- {text}")
    for text in findings(outcome):
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


def _add(table: Table, outcome: Outcome, spot: Spot, paper: bool) -> None:
    title = place(outcome, spot)
    if spot.weak:
        title += " (weak attack)"
    for number, row in enumerate(spot.rows):
        cells = [escape(title if number == 0 else "")] if table.columns[0].header != outcome.matrix.system_axis else []
        cells += [
            escape(f"{row.label} {FLAW_MARK}" if spot.aside(row) else row.label),
            _number(row.ma, row.label in spot.best.ma),
            _number(row.asr, row.label in spot.best.asr),
        ]
        if paper:
            cells += [MISSING, MISSING] if row.paper is None else [f"{value:.2f}" for value in row.paper]
        table.add_row(*cells, str(len(row.seeds)), end_section=number == len(spot.rows) - 1)


def _number(found: Spread | None, best: bool) -> str:
    if found is None:
        return MISSING
    text = f"{found.mean:.2f}" + ("" if found.high is None else f" ± {found.high - found.mean:.2f}")
    return f"[bold]*{text}[/]" if best else text
