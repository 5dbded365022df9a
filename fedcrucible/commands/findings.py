"""Printing findings: one line each with what to do below it, or one JSON object; the exit code says how it went."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from fedcrucible.failures import FAILED

if TYPE_CHECKING:
    from fedcrucible.health import Finding

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def report(findings: Sequence[Finding], *, as_json: bool) -> None:
    """Print findings; exit code 1 when one of them is ``fail``."""
    failed = any(finding.status == "fail" for finding in findings)
    if as_json:
        typer.echo(json.dumps({"ok": not failed, "findings": [asdict(finding) for finding in findings]}, indent=1))
    else:
        _print(findings)
    if failed:
        raise typer.Exit(FAILED)


def _print(findings: Sequence[Finding]) -> None:
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
