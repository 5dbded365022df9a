"""``fedcrucible supernode``: a SuperNode whose clients start within a tenth of a second."""

from __future__ import annotations

import typer

from fedcrucible.failures import clear_errors

SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": ["--help"]}


def command(context: typer.Context) -> None:
    """Run a SuperNode that imports PyTorch once instead of for every message; options are flower-supernode's."""
    with clear_errors():
        from fedcrucible.engines.flower.warm_node import become_warm_node

        become_warm_node(context.args)
