"""``fedcrucible doctor``: does this machine have what a run needs?"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from fedcrucible.commands.findings import report
from fedcrucible.failures import clear_errors

if TYPE_CHECKING:
    from fedcrucible.health import Finding


def command(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Check versions, devices, data, guide, sources and folders; exit code 1 when something the demo needs fails."""
    with clear_errors():
        with contextlib.redirect_stdout(sys.stderr):
            findings = examine()
        report(findings, as_json=as_json)


def examine() -> list[Finding]:
    """All checks; one that breaks is itself a finding."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from fedcrucible.health import Finding, content, hardware, network, places, software
    from fedcrucible_core.config.plain_text import error_text

    found: list[Finding] = []
    for module in (software, hardware, content, places, network):
        try:
            found += module.check()
        except Exception as error:
            name = module.__name__.rpartition(".")[2]
            found.append(Finding(name, "check", "fail", error_text(error, 500), "see the lines above"))
    return found
