"""``fedcrucible deploy``: one description of a deployment, as processes of this machine or as compose files."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcrucible.commands.options import Preset, Settings
from fedcrucible.failures import FAILED, CommandError, clear_errors

if TYPE_CHECKING:
    from fedcrucible.deploy.operator import Operator, ProcessStatus
    from fedcrucible.deploy.topology import Topology

app = typer.Typer(
    help="A deployment from one description: `up`, `status`, `logs`, `run`, `down` as processes of this machine; "
    "`compose` for containers.",
    no_args_is_help=True,
)
Description = Annotated[Path, typer.Argument(metavar="TOPOLOGY", help="The description, a TOML file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Keys = Annotated[
    Path | None, typer.Option("--keys", metavar="FOLDER", help="Where keys lie; default: the description's.")
]
SuperLink = Annotated[
    str, typer.Option("--superlink", metavar="HOST:PORT", help="Where it is; default: on this machine.")
]


@app.command()
def up(topology: Description) -> None:
    """Make keys, start SuperLink and SuperNodes, register them; what runs already stays. They outlive this command."""
    with clear_errors():
        from fedcrucible.deploy.operator import Operator

        operator = Operator(_load(topology))
        started = operator.up(lambda line: typer.echo(line, err=True))
        typer.echo(f"started {', '.join(started)}" if started else "everything runs already")


@app.command()
def down(topology: Description) -> None:
    """End every process that `up` started; keys, database and records stay."""
    with clear_errors():
        from fedcrucible.deploy.operator import Operator

        ended = Operator(_load(topology)).down()
        typer.echo(f"ended {', '.join(ended)}" if ended else "nothing was running")


@app.command()
def status(topology: Description, as_json: AsJson = False) -> None:
    """Which processes run, how many nodes the SuperLink sees, and whether its certificate ends soon.

    Exit code 1 when a process that should run doesn't, or the SuperLink can't be asked.
    """
    with clear_errors():
        from fedcrucible.deploy.operator import Operator
        from fedcrucible.deploy.topology import SUPERLINK

        operator = Operator(_load(topology))
        found = operator.status()
        answers = any(process.name == SUPERLINK and process.pid for process in found)
        nodes, problem = _nodes(operator) if answers else ({}, "")
        certificate = operator.certificate()
        if as_json:
            processes = [{**asdict(process), "log": str(process.log)} for process in found]
            table = {"processes": processes, "nodes": nodes, "problem": problem, "certificate": certificate}
            typer.echo(json.dumps(table, indent=1))
        else:
            for process in found:
                typer.echo(_line(process))
            if answers:
                seen = ", ".join(f"{count} {state}" for state, count in sorted(nodes.items())) or "none registered"
                typer.echo(f"the SuperLink's nodes: {problem or seen}")
            for note in certificate:
                typer.echo(f"warn: {note}")
        if problem or any(process.pid is None for process in found):
            raise typer.Exit(FAILED)


@app.command()
def logs(
    topology: Description,
    name: Annotated[str, typer.Argument(metavar="NAME", help="superlink or a site; all by default.")] = "",
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the last lines.")] = 20,
) -> None:
    """The last lines of the processes' logs."""
    with clear_errors():
        from fedcrucible.deploy.operator import Operator
        from fedcrucible.deploy.topology import SUPERLINK
        from fedcrucible.engines.flower.processes import Processes

        described = _load(topology)
        operator = Operator(described)
        if name and name != SUPERLINK:
            described.site(name)
        processes = Processes(operator.folder, "")
        for each in [name] if name else [SUPERLINK, *(site.name for site in described.sites)]:
            log = operator.log(each)
            typer.echo(f"==> {log} <==")
            typer.echo(processes.log_tail(str(log.relative_to(operator.folder)), lines) or "nothing yet")


@app.command()
def run(
    topology: Description,
    settings: Settings = None,
    preset: Preset = "",
    superlink: SuperLink = "",
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Submit one run and follow it to its end; clients, their partitions and attackers are the description's."""
    with clear_errors():
        from fedcrucible.commands.run import show
        from fedcrucible.deploy.runs import submit
        from fedcrucible.deploy.topology import server_files
        from fedcrucible.engines.flower.command import FlowerRunError
        from fedcrucible_core.config.load import load_assignments, overlaid
        from fedcrucible_core.config.preset import load_preset

        described = _load(topology)
        chosen = overlaid(load_preset(preset), load_assignments(settings or []))
        authority = server_files(keys or described.keys_folder).authority
        try:
            with contextlib.redirect_stdout(sys.stderr):
                summary = submit(described, chosen, superlink or described.dialled_here, authority)
        except FlowerRunError as error:
            raise CommandError(str(error)) from None
        show(summary, as_json)


@app.command()
def compose(
    topology: Description,
    only: Annotated[
        str, typer.Option("--only", metavar="PART", help="`server`, or a site's name: that machine's part.")
    ] = "",
    gpu: Annotated[bool, typer.Option("--gpu", help="The second file, which reserves GPUs.")] = False,
) -> None:
    """Print the compose file: everything on one machine, or one machine's part."""
    with clear_errors():
        from fedcrucible.deploy.compose import compose as made
        from fedcrucible.deploy.compose import gpu_overlay

        described = _load(topology)
        typer.echo(gpu_overlay(described, only) if gpu else made(described, topology.name, only), nl=False)


@app.command("keys")
def make(
    topology: Description,
    keys: Keys = None,
    server_only: Annotated[
        bool, typer.Option("--server-only", help="No keys of sites: they make their own, and send the public part.")
    ] = False,
) -> None:
    """Make the certificates and keys that are missing; what is there stays."""
    with clear_errors():
        from fedcrucible.deploy.keys import make_keys

        described = _load(topology)
        made = make_keys(described, keys or described.keys_folder, nodes=not server_only)
        for path in made:
            typer.echo(path)
        if not made:
            typer.echo("everything is there", err=True)


@app.command()
def register(topology: Description, superlink: SuperLink = "", keys: Keys = None) -> None:
    """Wait for the SuperLink and make it know the sites' public keys; safe to repeat."""
    with clear_errors():
        from fedcrucible.deploy.connection import wait_for
        from fedcrucible.deploy.keys import public_keys
        from fedcrucible.deploy.topology import server_files
        from fedcrucible.engines.flower.superlink_access import SuperLinkAccess

        described = _load(topology)
        folder = keys or described.keys_folder
        known = public_keys(described, folder)
        address, authority = superlink or described.dialled_here, server_files(folder).authority
        wait_for(address, authority)
        registered = SuperLinkAccess(address, authority).register(known)
        for name, done in registered.items():
            typer.echo(f"{name}: {done.refused or ('registered' if done.new else 'known already')}")
        if any(done.refused for done in registered.values()):
            raise typer.Exit(FAILED)


def _load(path: Path) -> Topology:
    from fedcrucible.deploy.topology import load_topology

    return load_topology(path)


def _nodes(operator: Operator) -> tuple[dict[str, int], str]:
    """Nodes by state, and why the SuperLink can't be asked."""
    from fedcrucible.engines.flower.command import FlowerRunError

    try:
        return operator.nodes(), ""
    except FlowerRunError as error:
        return {}, str(error)


def _line(process: ProcessStatus) -> str:
    state = f"runs, pid {process.pid}" if process.pid else "has ended" if process.ended else "not started"
    hint = f"; see {process.log}" if process.ended else ""
    return f"{process.name:<16} {process.role:<10} {state}{hint}"
