"""``fedcrucible replay``: the same run without a site from some round on."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcrucible.failures import CommandError, RecordFolder, clear_errors

if TYPE_CHECKING:
    from fedcrucible.incident.replay import Fork


def command(
    record: Annotated[Path, typer.Argument(metavar="RECORD", help="A run's record folder; it is only read.")],
    without: Annotated[
        str, typer.Option("--without", metavar="SITES", help="Sites (partitions) that are left out, by commas.")
    ],
    first: Annotated[int, typer.Option("--from", metavar="ROUND", help="First round without them.")],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Folder name of the new record.")] = "",
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Only make the new record, for a deployment to go on with; run nothing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the result.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end, nothing else.")] = False,
) -> None:
    """Run the rounds of a record again without some sites, from the checkpoint before, and show both models.

    The new record lies beside the old one. It needs a checkpoint before that round (run.checkpoint_every,
    run.checkpoints_kept). The run goes on in this process; --prepare leaves it to a deployment.
    """
    with clear_errors() as kept:
        from fedcrucible_core.config.extras import require

        require("server")
        from fedcrucible.incident.replay import fork

        sites = _sites(without)
        made = fork(record, sites, first, name)
        with _forgotten(made, kept):
            if prepare:
                _tell(made, as_json)
                return
            with contextlib.redirect_stdout(sys.stderr):
                _run(made, quiet, kept)
        _show(record, made, sites, as_json)


def _sites(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isascii() and part.isdigit() for part in parts):
        raise CommandError(f"--without {text!r} names no sites", "allowed: partitions by commas, e.g. 3 or 3,7")
    return sorted({int(part) for part in parts})


@contextlib.contextmanager
def _forgotten(made: Fork, kept: RecordFolder) -> Iterator[None]:
    """Remove a new record to which no round was added."""
    try:
        yield
    except BaseException:
        if kept.folder is None:
            shutil.rmtree(made.folder, ignore_errors=True)
        raise


def _run(made: Fork, quiet: bool, kept: RecordFolder) -> None:
    from fedcrucible.engines.in_process import run_in_process
    from fedcrucible.progress import progress_display
    from server_app.plan import Plan

    with progress_display(quiet) as display:
        plan = Plan.make(made.config)
        display.started(plan.config.run.rounds)
        run_in_process(plan, [display], display.on_reply, kept.learn)


def _tell(made: Fork, as_json: bool) -> None:
    from fedcrucible.incident.replay import settings_of

    settings = settings_of(made)
    if as_json:
        typer.echo(json.dumps({"record": str(made.folder), "after_round": made.checkpoint_round, "settings": settings}))
        return
    typer.echo(f"record: {made.folder}, up to round {made.checkpoint_round}")
    typer.echo(f"go on with: flwr run . --run-config {made.folder / 'config.toml'} --run-config '{' '.join(settings)}'")


def _show(record: Path, made: Fork, sites: list[int], as_json: bool) -> None:
    from fedcrucible.incident.replay import replayed
    from fedcrucible.incident.side_by_side import SideBySide, print_side_by_side

    both, same = SideBySide.of(record, made.folder), replayed(made, record)
    if as_json:
        from dataclasses import asdict

        final = {name: {"before": one, "after": two} for name, (one, two) in both.final.items()}
        rounds = [asdict(pair) for pair in both.rounds]
        found = {"record": str(made.folder), "without": sites, "from": made.first_round, "same_before": same}
        typer.echo(json.dumps(found | {"final": final, "rounds": rounds}))
        return
    print_side_by_side(both, ("recorded", "without"))
    if not same:
        typer.echo(f"note: rounds before {made.first_round} differ from the record: other versions, or another machine")
    typer.echo(f"record: {both.after.folder}")
