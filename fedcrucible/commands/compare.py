"""``fedcrucible compare``: a matrix of runs and what comes of it."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcrucible.commands.options import Settings
from fedcrucible.failures import CommandError, clear_errors

if TYPE_CHECKING:
    from fedcrucible.comparison.session import Request
    from fedcrucible.comparison.tables.outcome import Outcome

SHOWN_FAILURES = 5
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", "-j", min=0, help="Runs at the same time; 0 = only tabulate what is finished.")
]  # fmt: skip
Engine = Annotated[str, typer.Option("--engine", help="in-process, or flwr: each cell through `flwr run`.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="Where records, tables and page go.")]
Seeds = Annotated[str, typer.Option("--seeds", metavar="1,2,3 | 1-5", help="Seeds of every cell.")]
Strategies = Annotated[str, typer.Option("--strategies", "-s", metavar="A,B", help="Systems to compare.")]
Attacks = Annotated[str, typer.Option("--attacks", "-a", metavar="A,B", help="Attacks they face.")]
Axis = Annotated[list[str] | None, typer.Option("--axis", metavar="KEY=V,V", help="Another axis over any key.")]
Reference = Annotated[str, typer.Option("--reference", metavar="SYSTEM", help="Whom the others are tested against.")]
Margin = Annotated[
    float | None, typer.Option("--margin", min=0.0, max=100.0, help="Points of MA that the best ASR may cost.")
]
Skip = Annotated[bool, typer.Option("--skip-impossible", help="Leave impossible cells out instead of stopping.")]
Dry = Annotated[bool, typer.Option("--dry-run", help="Only list the cells, with an estimate of the time they take.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object at the end, nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the result.")]


def command(
    settings: Settings = None,
    preset: Annotated[
        str,
        typer.Option("--preset", "-p", metavar="NAME", help="A preset or a .toml file; its [compare] is the matrix."),
    ] = "demo",
    strategies: Strategies = "",
    attacks: Attacks = "",
    datasets: Annotated[str, typer.Option("--datasets", "-d", metavar="A,B", help="Data sets.")] = "",
    partitions: Annotated[str, typer.Option("--partitions", metavar="A,B", help="Partitions of the data.")] = "",
    fractions: Annotated[
        str, typer.Option("--fractions", "-f", metavar="0.1,0.3", help="Shares of clients that are malicious.")
    ] = "",
    seeds: Seeds = "",
    axis: Axis = None,
    jobs: Jobs = None,
    engine: Engine = "in-process",
    out: Out = None,
    reference: Reference = "",
    margin: Margin = None,
    skip_impossible: Skip = False,
    dry_run: Dry = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run every combination of strategies, attacks, data and whatever else varies, over several seeds.

    Ends with a table, results.csv, .parquet, .md and .tex, and one page. Interrupted, the same command goes on where it
    stopped: finished cells are never run again. Options go before the file.
    """
    with clear_errors():
        from fedcrucible.comparison.plan.request import Options
        from fedcrucible.comparison.session import Request, usual_jobs

        options = Options(preset, settings or (), strategies, attacks, datasets, partitions, fractions, seeds,
                          axis or (), reference, margin, engine)  # fmt: skip
        request = Request(options, usual_jobs(jobs, engine), out, skip_impossible, quiet or as_json)
        perform(request, dry_run, as_json)


def perform(request: Request, dry_run: bool, as_json: bool) -> None:
    """Run the matrix (or only list its cells), print the result, fail where a cell did."""
    from fedcrucible.comparison.session import check_output_settings
    from fedcrucible_core.config.extras import require

    require("cli")
    check_output_settings(request.options.settings)
    if dry_run:
        _preview(request, as_json)
    else:
        _run(request, as_json)


def _preview(request: Request, as_json: bool) -> None:
    from fedcrucible.comparison.preview_table import preview_object, print_preview
    from fedcrucible.comparison.session import preview

    with contextlib.redirect_stdout(sys.stderr):
        planned = preview(request)
    if as_json:
        typer.echo(json.dumps(preview_object(planned)))
    else:
        print_preview(planned)


def _run(request: Request, as_json: bool) -> None:
    from fedcrucible.comparison.session import compare

    with contextlib.redirect_stdout(sys.stderr):  # what libraries print belongs to the progress
        outcome, folder = compare(request)
    if as_json:
        from fedcrucible.comparison.tables.outputs import as_json as as_object

        typer.echo(json.dumps(as_object(outcome, folder)))
    else:
        from fedcrucible.comparison.tables.result_table import print_outcome

        print_outcome(outcome, folder)
    if outcome.jobs:
        _fail_where_cells_did(outcome, folder)


def _fail_where_cells_did(outcome: Outcome, folder: Path) -> None:
    from fedcrucible.comparison.execution.store import FAILURES
    from fedcrucible_core.reports.statistics.spots import first_of

    if not outcome.failed:
        return
    listed = first_of([f"{cell.title}: {cause}" for cell, cause in outcome.failed], SHOWN_FAILURES, "\n  ")
    hint = f"details: {folder / FAILURES}; the same command tries them again"
    raise CommandError(f"{len(outcome.failed)} runs failed:\n  {listed}", hint)
