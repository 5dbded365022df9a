"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Settings = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE...", help="Settings, e.g. strategy=clip-fed attack.name=badnets run.seed=2"),
]
Preset = Annotated[
    str, typer.Option("--preset", "-p", metavar="NAME", help="Settings to start from: a preset, or a .toml file.")
]
