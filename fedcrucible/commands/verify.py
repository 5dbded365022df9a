"""``fedcrucible verify``: whether a record is still what its events say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from fedcrucible.failures import FAILED, CommandError, clear_errors


def command(
    folder: Annotated[Path, typer.Argument(metavar="RECORD", help="A record folder.")],
    head: Annotated[
        str, typer.Option("--head", metavar="SHA256", help="Hash of a line as it was kept elsewhere: it must be there.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check the chain of events.jsonl, and that settings, rounds and models are those that it vouches for.

    Exit code 0: nothing is wrong; 1: something is, and the first broken line is named. Whoever can write the folder can
    write a new chain: keep the head elsewhere (it is in the run's log, too) and give it to --head.
    """
    with clear_errors():
        from fedcrucible_core.records.verification import verify

        try:
            found = verify(folder, head)
        except FileNotFoundError as error:
            raise CommandError(str(error)) from None
        if as_json:
            typer.echo(
                json.dumps(
                    {
                        "whole": found.whole,
                        "events": len(found.chain.events),
                        "rounds": found.rounds,
                        "head": found.chain.head,
                        "problems": list(found.problems),
                        "remarks": list(found.remarks),
                    }
                )
            )
        else:
            _tell(found.problems, found.remarks)
            verdict = "whole" if found.whole else "BROKEN"
            typer.echo(f"{verdict}: {len(found.chain.events)} events, {found.rounds} rounds, head {found.chain.head}")
    if not found.whole:
        raise typer.Exit(FAILED)


def _tell(problems: tuple[str, ...], remarks: tuple[str, ...]) -> None:
    from fedcrucible_core.config.plain_text import visible

    for problem in problems:
        typer.echo(visible(f"wrong: {problem}"))
    for remark in remarks:
        typer.echo(visible(f"note: {remark}"))
