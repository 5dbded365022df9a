"""``fedcrucible paper``: a paper's table as one command, our numbers beside the paper's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from fedcrucible.commands import compare
from fedcrucible.commands.options import Settings
from fedcrucible.failures import clear_errors

if TYPE_CHECKING:
    from fedcrucible.papers.tables import PaperTable


def command(
    paper: Annotated[str, typer.Argument(metavar="PAPER", help="e.g. clip-fed; none = list what there is.")] = "",
    table: Annotated[str, typer.Argument(metavar="TABLE", help="e.g. table1; none = list the paper's tables.")] = "",
    settings: Settings = None,
    small: Annotated[bool, typer.Option("--small", help="The twin on data that ships, for two CPU cores.")] = False,
    numbers: Annotated[bool, typer.Option("--numbers", help="Only print what the paper says; run nothing.")] = False,
    strategies: compare.Strategies = "",
    attacks: compare.Attacks = "",
    seeds: compare.Seeds = "",
    axis: compare.Axis = None,
    jobs: compare.Jobs = None,
    engine: compare.Engine = "in-process",
    out: compare.Out = None,
    reference: compare.Reference = "",
    margin: compare.Margin = None,
    skip_impossible: compare.Skip = False,
    dry_run: compare.Dry = False,
    as_json: compare.Json = False,
    quiet: compare.Quiet = False,
) -> None:
    """Run a table of a paper and print our numbers beside the paper's, with every setting that had to be assumed.

    `fedcrucible paper clip-fed table1 --small` takes about an hour on two CPU cores; without --small it is the paper's
    scale, for a GPU. The same as `fedcrucible compare --preset clip-fed/table1`.
    """
    with clear_errors():
        if not paper or not table:
            _list(paper, as_json)
            return
        from fedcrucible.papers.tables import load_table

        found = load_table(f"{paper}/{table}")
        if numbers:
            _show(found.name, as_json)
            return
        from fedcrucible.comparison.plan.request import Options
        from fedcrucible.comparison.session import Request, usual_jobs

        options = Options(f"{found.name}{'-small' if small else ''}", settings or (), strategies, attacks, "", "", "",
                          seeds, axis or (), reference, margin, engine)  # fmt: skip
        request = Request(options, usual_jobs(jobs, engine), out, skip_impossible, quiet or as_json)
        compare.perform(request, dry_run, as_json)


def _list(paper: str, as_json: bool) -> None:
    from fedcrucible.papers.tables import load_table, paper_names, table_names

    found = [
        load_table(f"{name}/{table}") for name in ([paper] if paper else paper_names()) for table in table_names(name)
    ]
    if as_json:
        typer.echo(json.dumps([{"name": one.name, "title": one.title, "source": one.source} for one in found]))
        return
    for one in found:
        typer.echo(f"{one.name.replace('/', ' ')}: {one.title}")


def _show(name: str, as_json: bool) -> None:
    from fedcrucible.papers.tables import load_table

    found = load_table(name)
    if as_json:
        heads = [*found.axes, *(number.name for number in found.numbers)]
        rows = [dict(zip(heads, [*key, *values], strict=True)) for key, values in found.values.items()]
        typer.echo(json.dumps({"name": found.name, "source": found.source, "unit": "percent", "rows": rows}))
        return
    names = " / ".join(number.name for number in found.numbers)
    typer.echo(f"{found.source}: {found.title}. {names} in percent.")
    heads, body = _grid(found)
    widths = [max(len(row[i]) for row in [heads, *body]) for i in range(len(heads))]
    for row in [heads, *body]:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for note in found.notes:
        typer.echo(f"- {note}")


def _grid(found: PaperTable) -> tuple[list[str], list[list[str]]]:
    """Headings and rows: the last axis makes columns; one alone makes rows, with a column for each number."""
    if len(found.axes) == 1:
        heads = [*found.axes, *(number.name for number in found.numbers)]
        return heads, [[*key, *(_values([value]) for value in values)] for key, values in found.values.items()]
    systems = found.labels(found.axes[-1])
    return [*found.axes[:-1], *systems], [
        [*key, *(_values(found.values.get((*key, system))) for system in systems)]
        for key in dict.fromkeys(key[:-1] for key in found.values)
    ]


def _values(values: Sequence[float | str] | None) -> str:
    """The numbers of one cell."""
    if values is None:
        return "-"
    return "/".join(value or "-" if isinstance(value, str) else f"{value:.2f}" for value in values)
