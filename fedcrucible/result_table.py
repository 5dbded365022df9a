"""A run's result as a small table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import typer
from rich.table import Table

from fedcrucible.catalogue_text import console
from fedcrucible_core.records.numbers import Number
from fedcrucible_core.records.privacy import privacy_line
from fedcrucible_core.records.schema import RATES, Detection, RunSummary, interval_field
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
    for field, number in RATES.items():
        if number.tone:
            for row in _rate(summary, field, number):
                table.add_row(*row)
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


def _rate(summary: RunSummary, field: str, number: Number) -> Iterator[tuple[str, str, str]]:
    """A rate that is drawn; those of the attack only where there was one, and where ASR could be measured."""
    value: float | None = getattr(summary, field)
    name = f"{number.meaning} ({number.title})" if number.better else number.title
    of_attack = number.better != "higher"
    if of_attack and summary.asr_percent is None:
        if summary.attack != "none" and number.better:
            yield name, percent(None), "untargeted, or not measured"
    elif value is None:
        yield name, percent(None), "the attack puts no trigger on inputs"
    else:
        inputs = f"of {summary.attack_inputs}" if of_attack and number.better else number.of
        yield name, percent(value), _interval(getattr(summary, interval_field(field), None), inputs)


def _interval(bounds: tuple[float, float] | None, what: str) -> str:
    return what if bounds is None else f"{what}; 95 % interval {bounds[0]:.1f} to {bounds[1]:.1f}"


def _detection(caught: Detection | None) -> tuple[str, str]:
    if caught is None:
        return "-", "no reply was judged"
    words = f"of malicious replies rejected; {percent(caught.fpr_percent)} of honest ones"
    return percent(caught.tpr_percent), words
