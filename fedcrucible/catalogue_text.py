"""The catalogue as tables, in full, or as Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fedcrucible.catalogue import Entry

FACTS = {"state_kept": "keeps between rounds", "cost": "cost", "traps": "traps avoided"}
"""What an author may say of a component, and what it is called."""
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
        of_kinds = any("kind" in entry.parts for entry in members)
        if of_kinds:
            table.add_column("kind", no_wrap=True)
        table.add_column("what it is")
        table.add_column("needs to know")
        more = [name for name in ("state_kept", "cost") if any(getattr(entry, name) for entry in members)]
        for name in more:
            table.add_column(FACTS[name])
        for entry in members:
            facts = [getattr(entry, name) for name in more]
            kind = [entry.parts.get("kind", "")] if of_kinds else []
            table.add_row(*map(escape, (entry.name, *kind, entry.summary, "; ".join(entry.knowledge), *facts)))
        out.print(table)
        if with_parameters:
            _print_parameters(out, members)
        out.print()
    out.print("`fedcrucible list NAME` shows one in full.", style="dim", markup=False, highlight=False)


def print_full(found: Sequence[Entry]) -> None:
    """Everything known about each entry."""
    from fedcrucible.papers.choices import choices
    from fedcrucible.papers.references import in_words, sources

    out = console()
    for entry in found:
        out.print(f"[bold cyan]{escape(entry.name)}[/] ({entry.kind})")
        out.print(entry.doc, markup=False, highlight=False)
        facts = {
            "choose it by": entry.chosen_by,
            **entry.parts,
            "source": in_words(entry.paper),
            "needs to know": "; ".join(entry.knowledge),
            FACTS["state_kept"]: entry.state_kept,
            FACTS["cost"]: entry.cost,
            FACTS["traps"]: "; ".join(entry.traps),
            "file": entry.file,
        }
        out.print()
        for label, value in facts.items():
            if value:
                _print_line(out, f"{label}: {value}")
        for reference, _ in sources(entry.paper):
            _print_line(out, f"{reference.short}: {reference.full}")
        if entry.choices:
            _print_line(out, "what the source leaves open, and what is done here (docs/choices.md):")
        for anchor in entry.choices:
            _print_line(out, f"  {anchor}: {choices()[anchor].open} Here: {choices()[anchor].here}")
        _print_parameters(out, [entry])
        out.print()


def _print_line(out: Console, text: str) -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=True)


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


def markdown(found: Sequence[Entry], *, with_parameters: bool = True) -> str:
    """A table per kind: method, file, source, knowledge, facts, choices, and its parameters where asked for.

    Links to choices are those of a page in docs.
    """
    from fedcrucible.papers.references import in_markdown

    lines = []
    heads = ["method", "file", "source", "needs to know", *FACTS.values(), "choices"]
    heads += ["parameters"] if with_parameters else []
    for kind, group in groupby(found, key=lambda entry: entry.kind):
        lines += [f"### {kind}", "", "| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
        for entry in group:
            cells = [
                f"`{entry.name}`: {entry.parts['kind'] + '. ' if 'kind' in entry.parts else ''}{entry.summary}",
                f"`{entry.file}`",
                in_markdown(entry.paper),
                "; ".join(entry.knowledge) or "nothing special",
                entry.state_kept or "nothing",
                entry.cost or "-",
                "; ".join(entry.traps) or "-",
                ", ".join(f"[{anchor}](choices.md#{anchor})" for anchor in entry.choices) or "-",
            ]
            if with_parameters:
                cells.append(
                    ", ".join(f"`{one.key}` = {json.dumps(one.default)}" for one in entry.parameters) or "none"
                )
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines).rstrip()
