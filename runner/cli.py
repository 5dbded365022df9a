"""The ``fedcrucible`` command. Thin: every command has a module of its own, and none imports torch before it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from runner.commands import config, doctor, listing, prepare, report, run

app = typer.Typer(
    name="fedcrucible",
    help="Federated learning under backdoor attack: attacks, defences and honest numbers, on Flower.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.command)
app.command("list")(listing.command)
app.command("config")(config.command)
app.command("doctor")(doctor.command)
app.command("prepare")(prepare.command)
app.command("report")(report.command)


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the versions of FedCrucible and Flower.", is_eager=True)
    ] = False,
) -> None:
    """Federated learning under backdoor attack: attacks, defences and honest numbers, on Flower."""
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"fedcrucible {installed('fedcrucible')} (flwr {installed('flwr')}, torch {installed('torch')})")
        raise typer.Exit


if __name__ == "__main__":
    app()
