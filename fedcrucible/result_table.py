"""A run's result as a small table."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.table import Table

from fedcrucible.catalogue_text import console
from fedcrucible_core.records.privacy import privacy_line
from fedcrucible_core.records.schema import Detection, RunSummary
from server_app.console import percent


def print_result(summary: RunSummary, report: Path | None) -> None:
    """Print the numbers and where the record lies; paths on lines of their own, so that they can be copied."""
    title = (
        f"{summary.strategy} under {summary.attack}, {summary.dataset}, seed {summary.seed}, {summary.rounds} rounds"
    )
    table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim")
    table.add_row(
        "clean accuracy (MA)", percent(summary.ma_percent), _interval(summary.ma_interval_percent, "of test images")
    )
    if summary.asr_percent is not None:
        table.add_row(
            "attack success (ASR)",
            percent(summary.asr_percent),
            _interval(summary.asr_interval_percent, f"of {summary.attack_inputs}"),
        )
        table.add_row("base rate", percent(summary.base_rate_percent), _base(summary.base_rate_percent))
    elif summary.attack != "none":
        table.add_row("attack success (ASR)", percent(None), "untargeted, or not measured")
    table.add_row("detection", *_detection(summary.detection))
    table.add_row("time", f"{summary.seconds_total:.1f} s", "")
    console().print(table)
    if line := privacy_line(summary):
        typer.echo(line)
    for note in summary.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"record: {summary.folder}")
    if report is not None:
        typer.echo(f"report: {report}")


def _interval(bounds: tuple[float, float] | None, what: str) -> str:
    return what if bounds is None else f"{what}; 95 % interval {bounds[0]:.1f} to {bounds[1]:.1f}"


def _base(rate: float | None) -> str:
    return "the attack puts no trigger on images" if rate is None else "of the same images without trigger"


def _detection(found: Detection | None) -> tuple[str, str]:
    if found is None:
        return "-", "no reply was judged"
    words = f"of malicious replies rejected; {percent(found.fpr_percent)} of honest ones"
    return percent(found.tpr_percent), words
