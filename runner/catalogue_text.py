"""The catalogue as tables, in full, or as Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from runner.catalogue import Entry

PLAIN_WIDTH = 120
"""Columns where the output is no terminal."""


def console() -> Console:
    """A console for tables; wider than rich's own default where nobody watches."""
    found = Console()
    return found if found.is_terminal else Console(width=PLAIN_WIDTH)


def print_tables(found: Sequence[Entry], *, with_parameters: bool) -> None:
    """One table per kind; parameters below it when asked for."""
    out = console()
    for kind, group in groupby(found, key=lambda entry: entry.kind):
        members = list(group)
        table = Table(title=kind, title_justify="left", title_style="bold", box=None, pad_edge=False)
        table.add_column("name", no_wrap=True, style="cyan")
        table.add_column("what it is")
        table.add_column("needs to know")
        for entry in members:
            table.add_row(escape(entry.name), escape(entry.summary), escape("; ".join(entry.knowledge)))
        out.print(table)
        if with_parameters:
            _print_parameters(out, members)
        out.print()
    out.print("`fedcrucible list NAME` shows one in full.", style="dim", markup=False, highlight=False)


def print_full(found: Sequence[Entry]) -> None:
    """Everything known about each entry."""
    out = console()
    for entry in found:
        out.print(f"[bold cyan]{escape(entry.name)}[/] ({entry.kind})")
        out.print(entry.doc, markup=False, highlight=False)
        facts = {
            "choose it by": entry.chosen_by,
            **entry.parts,
            "source": entry.paper,
            "needs to know": "; ".join(entry.knowledge),
            "file": entry.file,
        }
        out.print()
        for label, value in facts.items():
            if value:
                out.print(f"{label}: {value}", markup=False, highlight=False, soft_wrap=True)
        _print_parameters(out, [entry])
        out.print()


def _print_parameters(out: Console, found: Sequence[Entry]) -> None:
    keys = {info.key: info for entry in found for info in entry.parameters}
    if not keys:
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("key", no_wrap=True, style="cyan")
    for column in ("default", "allowed", "meaning"):
        table.add_column(column, overflow="fold")
    for info in keys.values():
        table.add_row(*map(escape, (info.key, json.dumps(info.default), info.allowed, info.description)))
    out.print()
    out.print(table)


def markdown(found: Sequence[Entry]) -> str:
    """A table: method, file, source, knowledge, parameters."""
    lines = []
    for kind, group in groupby(found, key=lambda entry: entry.kind):
        lines += [f"### {kind}", "", "| method | file | source | needs to know | parameters |", "| --- " * 5 + "|"]
        for entry in group:
            keys = ", ".join(f"`{info.key}` = {json.dumps(info.default)}" for info in entry.parameters)
            cells = (
                f"`{entry.name}`: {entry.summary}",
                f"`{entry.file}`",
                entry.paper,
                "; ".join(entry.knowledge) or "nothing special",
                keys or "none",
            )
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines).rstrip()
