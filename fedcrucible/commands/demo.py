"""``fedcrucible demo``: what ``make demo`` runs."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcrucible.failures import CommandError, clear_errors

if TYPE_CHECKING:
    from rich.table import Table

    from fedcrucible.demo import Demo, Progress


def command(
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Settings for all rows, e.g. run.seed=2")
    ] = None,
    preset: Annotated[str, typer.Option("--preset", "-p", metavar="NAME", help="Settings to start from.")] = "demo",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end, nothing else.")] = False,
) -> None:
    """Attack a federation on real images and compare FedAvg, FLAME and CLIP-Fed, through `flwr run`.

    A few minutes on two CPU cores.  Ends with one table and a page of curves.
    """
    with clear_errors():
        from fedcrucible.demo import Demo
        from fedcrucible_core.config.extras import require
        from fedcrucible_core.config.load import load, load_assignments, load_preset
        from fedcrucible_core.records.location import base_folder

        require("cli")
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # transformers' bar for loading a small model
        start = time.perf_counter()
        chosen = load_preset(preset) | load_assignments(settings or [])
        checked = load(chosen)
        folder = base_folder(checked.output) / datetime.now(UTC).strftime("demo-%Y%m%dT%H%M%SZ")
        if not as_json:
            typer.echo("Six runs, three of them through `flwr run`; about five minutes on two CPU cores.", err=True)
        with _display(as_json) as tell:
            demo = Demo(folder, {k: v for k, v in chosen.items() if not k.startswith("output.")}, tell)
            rows = demo.run()
        page = _page(demo)
        if as_json:
            typer.echo(json.dumps(_as_object(rows, page, time.perf_counter() - start)))
        else:
            _print(rows, page, checked.run.seed, time.perf_counter() - start)
        failed = [progress for progress in rows if progress.summary is None]
        if failed:
            causes = "; ".join(f"{p.row.label}: {' '.join(p.error.split())}" for p in failed)
            raise CommandError(causes, "`fedcrucible doctor` checks this machine")


def _page(demo: Demo) -> Path | None:
    from fedcrucible_core.reports import ComparisonRow, render_comparison

    rows = [ComparisonRow(folder, label) for label, folder in demo.reports()]
    if not rows:
        return None
    return render_comparison(rows, "Demo: BadNets on Fashion-MNIST", demo.folder / "report.html")


@contextlib.contextmanager
def _display(quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """A live table on a terminal, one line per event elsewhere; stderr, for stdout is for the result."""
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    seen: dict[str, Progress] = {}
    if quiet or not console.is_terminal:
        yield lambda progress: None if quiet else _say(progress)
        return
    with Live(console=console, refresh_per_second=4, transient=True) as live:

        def show(progress: Progress) -> None:
            seen[progress.row.label] = progress
            live.update(_live_table(list(seen.values())))

        yield show


def _say(progress: Progress) -> None:
    typer.echo(f"[{progress.row.label}] {progress.last or progress.state}", err=True)


def _live_table(rows: list[Progress]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    for progress in rows:
        table.add_row(progress.row.label, progress.state, escape(progress.last))
    return table


def _print(rows: Sequence[Progress], page: Path | None, seed: int, seconds: float) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from fedcrucible.catalogue_text import console
    from fedcrucible_core.foundation.cache import cache_folder
    from fedcrucible_core.records.reader import read
    from fedcrucible_core.reports.statistics.cells import Cell, notes_of

    # Fits 80 columns: numbers bare, for the title says percent.
    table = Table(
        title=f"BadNets on Fashion-MNIST, seed {seed}; rates in percent",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("system", no_wrap=True)
    for name in ("MA", "ASR", "base", "TPR", "FPR", "s"):
        table.add_column(name, justify="right", no_wrap=True)
    notes: list[str] = []
    for progress in rows:
        found = progress.summary
        if found is None:
            table.add_row(progress.row.label, "failed", *["-"] * 5)
            continue
        cell = Cell(label=progress.row.label, runs=(read(Path(found.folder), arrays=False),))
        rates = (
            cell.spread_of("ma_percent"),
            cell.spread_of("asr_percent"),
            cell.spread_of("base_rate_percent"),
            cell.detection_of("tpr_percent"),
            cell.detection_of("fpr_percent"),
        )
        numbers = ["-" if rate is None else f"{rate.mean:.2f}" for rate in rates]
        table.add_row(progress.row.label, *numbers, f"{progress.seconds:.0f}")
        notes += [f"{progress.row.label}: {note}" for note in notes_of(cell.runs)]
    console().print(table)
    for note in notes:
        typer.echo(f"note: {note}")
    typer.echo("Attacked rows ran through `flwr run`, the others in-process, in the background.")
    typer.echo("MA: accuracy on clean test images.  ASR: triggered images of other classes that are called the target.")
    typer.echo("base: base rate, the same images without the trigger that are called the target.")
    typer.echo("TPR, FPR: malicious and honest replies that the rule rejected, over all rounds.")
    typer.echo(f"took {seconds:.0f} s")
    if page is not None:
        typer.echo(f"records: {page.parent}")
        typer.echo(f"report:  {page}")
    typer.echo(f"caches:  {cache_folder()} (generated images, the guide's embeddings); matplotlib keeps its font list")


def _as_object(rows: Sequence[Progress], page: Path | None, seconds: float) -> dict[str, object]:
    from fedcrucible.commands.run import as_object

    cells = {p.row.label: as_object(p.summary) if p.summary else {"error": p.error} for p in rows}
    return {"rows": cells, "report": str(page) if page else None, "seconds": round(seconds, 1)}
