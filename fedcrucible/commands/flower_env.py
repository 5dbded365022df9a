"""``fedcrucible flower-env``: for those who type ``flwr run .`` by hand."""

from __future__ import annotations

import typer

from fedcrucible.failures import clear_errors


def command() -> None:
    """Print the shell lines that set Flower up for this project: eval "$(fedcrucible flower-env)"."""
    with clear_errors():
        from fedcrucible.engines.flower.environment import shell_exports

        typer.echo(shell_exports())
