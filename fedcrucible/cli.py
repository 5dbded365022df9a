"""The ``fedcrucible`` command. Thin: every command has a module of its own, and none imports torch before it runs."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated, Any

import typer

from fedcrucible.commands import (
    compare,
    config,
    data,
    demo,
    deploy,
    doctor,
    flower_env,
    incident,
    listing,
    paper,
    preflight,
    prepare,
    purify,
    rehearse,
    replay,
    report,
    run,
    site,
    supernode,
    verify,
    watch,
)

_PYTHONS_OWN = warnings.showwarning

app = typer.Typer(
    name="fedcrucible",
    help="Federated learning under backdoor attack: attacks, defences and honest numbers, on Flower.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.command)
app.command("run")(run.command)
app.command("compare")(compare.command)
app.command("purify")(purify.command)
app.command("paper")(paper.command)
app.command("list")(listing.command)
app.command("config")(config.command)
app.command("doctor")(doctor.command)
app.command("data")(data.command)
app.command("prepare")(prepare.command)
app.command("report")(report.command)
app.command("watch")(watch.command)
app.command("verify")(verify.command)
app.command("incident")(incident.command)
app.command("replay")(replay.command)
app.command("preflight")(preflight.command)
app.command("rehearse")(rehearse.command)
app.add_typer(site.app)
app.command("supernode", context_settings=supernode.SETTINGS)(supernode.command)
app.command("flower-env")(flower_env.command)
app.add_typer(deploy.app, name="deploy")


def _shown(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
    """Warnings of ours as one plain line, others as Python shows them."""
    from fedcrucible_core.config.old_keys import OldKeyWarning

    if issubclass(category, OldKeyWarning):
        print(f"note: {message}", file=sys.stderr)
    else:
        _PYTHONS_OWN(message, category, *rest, **more)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"fedcrucible {version('fedcrucible')} (flwr {version('flwr')}, torch {version('torch')})")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[  # noqa: ARG001
        bool,
        typer.Option("--version", help="Print the versions in use.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Federated learning under backdoor attack: attacks, defences and honest numbers, on Flower."""
    warnings.showwarning = _shown


if __name__ == "__main__":
    app()
