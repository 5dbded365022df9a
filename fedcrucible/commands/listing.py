"""``fedcrucible list``: what can be named in a configuration."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from fedcrucible.failures import clear_errors

if TYPE_CHECKING:
    from fedcrucible.catalogue import Entry

KINDS_HELP = (
    "strategies, defenses, purifiers, repairs, splitters, attacks, partitioners, models, datasets, sources, guides or "
    "presets; none = all"
)


def command(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=KINDS_HELP)] = "",
    name: Annotated[str, typer.Argument(metavar="NAME", help="One of them, in full.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
) -> None:
    """List strategies, attacks and everything else that has a name, with parameters and what each needs to know.

    Without KIND all of them; `fedcrucible list attacks` adds parameters, `fedcrucible list badnets` shows one in full.
    """
    with clear_errors():
        found, full = select(kind, name)
        if as_json:
            typer.echo(json.dumps([entry.as_object() for entry in found], indent=1))
            return
        from fedcrucible import catalogue_text

        if markdown:
            typer.echo(catalogue_text.markdown(found))
        elif full:
            catalogue_text.print_full(found)
        else:
            catalogue_text.print_tables(found, with_parameters=bool(kind))


def select(kind: str, name: str) -> tuple[list[Entry], bool]:
    """The entries asked for, and whether in full; ``list badnets`` works as ``list attacks badnets``."""
    from fedcrucible.catalogue import KINDS, entries, find

    if not kind:
        return [entry for each in KINDS for entry in entries(each)], False
    if name:
        return find(name, [kind]), True
    if kind in KINDS:
        return entries(kind), False
    return find(kind, KINDS), True
