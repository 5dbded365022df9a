"""``fedcrucible config``: every key, so that nobody has to read code."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from fedcrucible.failures import clear_errors

if TYPE_CHECKING:
    from fedcrucible_core.config.describe import KeyInfo


def command(
    section: Annotated[str, typer.Argument(metavar="SECTION", help="Only keys that start so, e.g. attack.")] = "",
    as_toml: Annotated[bool, typer.Option("--toml", help="Print a preset file with every key and comment.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """Print every configuration key with its default, what it accepts and what it means."""
    with clear_errors():
        found = keys(section)
        if as_json:
            typer.echo(json.dumps([asdict(info) for info in found], indent=1))
        elif as_toml:
            typer.echo(toml(found))
        else:
            _print(found)


def keys(section: str = "") -> list[KeyInfo]:
    """Keys of a section (all of them where it is empty). Raises ConfigError when there are none."""
    from fedcrucible_core.config.describe import key_info
    from fedcrucible_core.config.errors import ConfigError, did_you_mean
    from fedcrucible_core.config.load import default_keys, sections

    every = default_keys()
    found = [key_info(key) for key in every if not section or key == section or key.startswith(section + ".")]
    if not found:
        names = sections(every)
        raise ConfigError("section", section, f"{did_you_mean(section, names)}allowed: {', '.join(names)}")
    return found


def toml(found: list[KeyInfo]) -> str:
    """A preset file: every key at its default, its meaning above it."""
    lines = ["# Every key at its default. Use: fedcrucible run --preset FILE.toml"]
    for name, group in groupby(found, key=lambda info: info.key.split(".")[0]):
        lines += ["", f"# --- {name} ---"]
        for info in group:
            lines += [f"# {info.description} ({info.allowed})", f"{info.key} = {json.dumps(info.default)}"]
    return "\n".join(lines)


def _print(found: list[KeyInfo]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from fedcrucible.catalogue_text import console

    out = console()
    for name, group in groupby(found, key=lambda info: info.key.split(".")[0]):
        table = Table(title=name, title_justify="left", title_style="bold", box=None, pad_edge=False)
        table.add_column("key", no_wrap=True, style="cyan")
        for column in ("default", "allowed", "meaning"):
            table.add_column(column, overflow="fold")
        for info in group:
            table.add_row(*map(escape, (info.key, json.dumps(info.default), info.allowed, info.description)))
        out.print(table)
        out.print()
