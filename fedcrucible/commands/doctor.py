"""``fedcrucible doctor``: does this machine have what a run needs?"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from fedcrucible.failures import FAILED, clear_errors

if TYPE_CHECKING:
    from fedcrucible.health import Finding

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def command(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Check versions, devices, data, guide, sources and folders; exit code 1 when something the demo needs fails."""
    with clear_errors():
        with contextlib.redirect_stdout(sys.stderr):
            findings = examine()
        failed = any(finding.status == "fail" for finding in findings)
        if as_json:
            typer.echo(json.dumps({"ok": not failed, "findings": [asdict(finding) for finding in findings]}, indent=1))
        else:
            _print(findings)
        if failed:
            raise typer.Exit(FAILED)


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


def _print(findings: list[Finding]) -> None:
    from itertools import groupby

    from rich.markup import escape

    from fedcrucible.catalogue_text import console

    out = console()
    for group, members in groupby(findings, key=lambda finding: finding.group):
        out.print(f"[bold]{group}[/]")
        for finding in members:
            status = f"[{COLOURS[finding.status]}]{finding.status:>4}[/]"
            out.print(f"  {status}  {escape(finding.name)}: {escape(finding.detail)}", highlight=False, soft_wrap=True)
            if finding.todo:
                out.print(f"        -> {finding.todo}", markup=False, highlight=False, soft_wrap=True)
    counts = {status: sum(finding.status == status for finding in findings) for status in COLOURS}
    out.print(", ".join(f"{count} {status}" for status, count in counts.items()), highlight=False)
