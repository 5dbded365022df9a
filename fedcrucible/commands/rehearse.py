"""``fedcrucible rehearse``: a federation on this machine in which things go wrong on purpose."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Annotated

import typer

from fedcrucible.commands.options import Preset, Settings
from fedcrucible.failures import FAILED, CommandError, clear_errors

NODES = 4


def command(
    settings: Settings = None,
    nodes: Annotated[int, typer.Option("--nodes", help="Sites, one SuperNode each.")] = NODES,
    fault: Annotated[
        str,
        typer.Option(
            "--fault",
            metavar="KIND@ROUND[:SITE],...",
            help="What goes wrong, e.g. kill@2,late@3,nan@4,stale-key; the whole matrix by default.",
        ),
    ] = "",
    rounds: Annotated[int, typer.Option("--rounds", min=0, help="Rounds; 0 = as many as the faults need.")] = 0,
    preset: Preset = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end, nothing else.")] = False,
) -> None:
    """Rehearse faults with real processes (SuperLink, SuperNodes, TLS, keys), and say what an operator sees of each.

    Nothing outlives the command but the record. Exit code 0: the federation behaved as documented; 1: it did not.
    """
    with clear_errors() as record:
        from fedcrucible.engines.flower.command import FlowerRunError
        from fedcrucible.rehearsal.grammar import programme
        from fedcrucible.rehearsal.matrix import as_object, printed
        from fedcrucible.rehearsal.rehearse import rehearse
        from fedcrucible_core.config.load import load_assignments, overlaid
        from fedcrucible_core.config.preset import load_preset

        planned = programme(fault, nodes, rounds)
        given = overlaid(load_preset(preset), load_assignments(settings or []))
        try:
            with contextlib.redirect_stdout(sys.stderr):
                found = rehearse(planned, given, lambda line: typer.echo(line, err=True), record.learn)
        except FlowerRunError as error:
            raise CommandError(str(error)) from None
        if as_json:
            typer.echo(json.dumps(as_object(found)))
        else:
            typer.echo("\n".join(printed(found)))
    if not found.expected:
        raise typer.Exit(FAILED)
