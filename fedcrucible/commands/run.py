"""``fedcrucible run``: one run in this process, without Ray or SuperLink."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcrucible.commands.options import Preset, Settings
from fedcrucible.failures import DEGRADED, RecordFolder, clear_errors

if TYPE_CHECKING:
    from fedcrucible_core.records.schema import RunSummary


def command(
    settings: Settings = None,
    preset: Preset = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end, nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the result.")] = False,
) -> None:
    """Run one system under one attack and record it.

    Settings are KEY=VALUE, e.g. strategy=clip-fed attack.name=badnets run.seed=2: those of `flwr run . --run-config`;
    `fedcrucible config` explains each. The command line goes before the preset, the preset before the defaults.
    Exit code 4: the run is recorded, but it missed federation.quorum or federation.required in some round.
    """
    with clear_errors() as record:
        # What libraries print belongs to the progress: stdout is for the result.
        with contextlib.redirect_stdout(sys.stderr):
            summary = run(settings or [], preset, quiet, record)
        show(summary, as_json)
    if summary.status == "degraded":
        raise typer.Exit(DEGRADED)


def run(settings: list[str], preset: str, quiet: bool, record: RecordFolder) -> RunSummary:
    """Load, check and run; nothing is written before all settings are known to be usable."""
    from fedcrucible.progress import progress_display

    with progress_display(quiet) as display:
        from fedcrucible.engines.hidden_settings import with_hidden
        from fedcrucible.engines.in_process import run_in_process
        from fedcrucible_core.config.json_log import wanted
        from fedcrucible_core.config.load import load, load_assignments, overlaid
        from fedcrucible_core.config.preset import load_preset
        from server_app.plan import Plan

        plan = Plan.make(load(with_hidden(overlaid(load_preset(preset), load_assignments(settings)))))
        if wanted(plan.config.output.log):
            return run_in_process(plan, on_folder=record.learn)
        plan.foundation.told = display.on_step
        display.started(plan.config.run.rounds)
        return run_in_process(plan, [display], display.on_reply, record.learn)


def show(summary: RunSummary, as_json: bool) -> None:
    """Print the result."""
    if as_json:
        typer.echo(json.dumps(as_object(summary)))
        return
    from fedcrucible.result_table import print_result

    print_result(summary, report_path(summary))


def report_path(summary: RunSummary) -> Path | None:
    """The run's page, if it was written."""
    path = Path(summary.folder) / "report.html"
    return path if path.is_file() else None


def as_object(summary: RunSummary) -> dict[str, object]:
    """The result for machines; rates in percent, None where nothing was measured."""
    from fedcrucible_core.records.numbers import numbers_of
    from fedcrucible_core.records.schema import RATES, Detection

    report, caught = report_path(summary), summary.detection
    return {
        **{number.name: getattr(summary, field) for field, number in RATES.items() if number.tone},
        "unit": "percent",
        **{number.name: getattr(caught, field, None) for field, number in numbers_of(Detection).items()},
        "epsilon": summary.epsilon,
        "delta": summary.delta,
        "sha256": summary.parameters_sha256,
        "record": summary.folder,
        "report": str(report) if report else None,
        "seconds": round(summary.seconds_total, 3),
        "strategy": summary.strategy,
        "attack": summary.attack,
        "dataset": summary.dataset,
        "rounds": summary.rounds,
        "seed": summary.seed,
        "state": summary.state,
        "status": summary.status,
        "notes": list(summary.notes),
    }
