"""``fedcrucible watch``: a run as it goes on, from its record folder alone."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcrucible.failures import DEGRADED, FAILED, INTERRUPTED, CommandError, clear_errors

if TYPE_CHECKING:
    from fedcrucible_core.records.glance import Glance, Watcher


def command(
    folder: Annotated[Path, typer.Argument(metavar="RECORD", help="The run's record folder.")],
    once: Annotated[bool, typer.Option("--once", help="Show how the run stands, and end.")] = False,
    every: Annotated[
        float, typer.Option("--every", metavar="SECONDS", min=0.1, max=3600.0, help="Seconds between two looks.")
    ] = 1.0,
) -> None:
    """Show rounds, clients, dropped replies with their causes and seconds by phase until the run ends.

    A live table on a terminal, with the round that runs, who has answered and who is late; elsewhere one line per round
    and one where somebody is late. Reads the record folder and nothing else, so it can run on
    any machine that sees it. Exit code: 0 the run has finished (or goes on, with --once), 4 it has finished degraded,
    1 it failed, was interrupted or was killed.
    """
    with clear_errors():
        from fedcrucible_core.records.glance import Watcher
        from fedcrucible_core.records.reader import DamagedRecordError

        watcher = Watcher(folder)
        show = _live if sys.stdout.isatty() else _lines
        try:
            last = show(watcher, once, every)
        except (FileNotFoundError, DamagedRecordError) as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            raise CommandError("no longer watching; the run goes on", code=INTERRUPTED) from None
    code = {"degraded": DEGRADED, "failed": FAILED, "interrupted": FAILED, "killed": FAILED}.get(last.state, 0)
    if code:
        raise typer.Exit(code)


def _first(watcher: Watcher, every: float) -> Glance:
    """The first look at which there is something to see."""
    while (glance := watcher.look()) is None:
        time.sleep(every)
    return glance


def _live(watcher: Watcher, once: bool, every: float) -> Glance:
    from rich.console import Console
    from rich.live import Live

    from fedcrucible.watching import picture

    console = Console()
    glance = _first(watcher, every)
    if once or glance.over:
        console.print(picture(glance, *console.size))
        return glance
    with Live(picture(glance, *console.size), console=console, auto_refresh=False, screen=False) as live:
        while not glance.over:
            time.sleep(every)
            glance = watcher.look() or glance
            live.update(picture(glance, *console.size), refresh=True)
    return glance


def _lines(watcher: Watcher, once: bool, every: float) -> Glance:
    from fedcrucible.watching import drop_lines, headline, progress_line, round_line, site_lines, standing

    glance, shown, told = _first(watcher, every), 0, ""
    typer.echo(headline(glance))
    while True:
        shown = min(shown, len(glance.rounds))  # a resumed run forgets rounds, and plays them again
        for record in glance.rounds[shown:]:
            typer.echo("\n".join([round_line(record, glance.run.rounds), *drop_lines(record)]))
        shown = len(glance.rounds)
        if once or glance.over:
            break
        late = "" if glance.running is None else f"{glance.running.round} {glance.running.late}"
        if glance.running is not None and glance.running.late and late != told:
            typer.echo(progress_line(glance))
        told = late
        sys.stdout.flush()
        time.sleep(every)
        glance = watcher.look() or glance
    running = [line for line in (progress_line(glance),) if line]
    typer.echo("\n".join([*site_lines(glance.sites), standing(glance), *running]))
    return glance
