"""``fedcrucible demo``: what ``make demo`` runs, the preset ``demo-table`` of ``fedcrucible compare``."""

from __future__ import annotations

import contextlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcrucible.commands.options import Preset, Settings
from fedcrucible.failures import CommandError, clear_errors

if TYPE_CHECKING:
    from fedcrucible.comparison.session import Request
    from fedcrucible.comparison.tables.outcome import Outcome

TABLE = "demo-table"
SEED = "run.seed"


def command(
    settings: Settings = None,
    preset: Preset = "demo",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end, nothing else.")] = False,
) -> None:
    """Attack a federation on real images and compare FedAvg, FLAME and CLIP-Fed, through `flwr run`.

    A few minutes on two CPU cores.  Ends with one table and a page of curves.
    """
    with clear_errors():
        from fedcrucible_core.config.extras import require

        require("cli")
        from fedcrucible.comparison.session import compare

        with contextlib.redirect_stdout(sys.stderr):
            asked = request(settings or [], preset, as_json)
            if not as_json:
                typer.echo("Six runs, three of them through `flwr run`; about five minutes on two CPU cores.", err=True)
            outcome, folder = compare(asked)
        if as_json:
            typer.echo(json.dumps(_as_object(outcome, folder)))
        else:
            _print(outcome, folder)
        if outcome.failed:
            causes = "; ".join(
                f"{cell.labels['strategy']}: {' '.join(cause.split())}" for cell, cause in outcome.failed
            )
            raise CommandError(causes, "`fedcrucible doctor` checks this machine")


def request(settings: list[str], preset: str, quiet: bool = False) -> Request:
    """The demo's table over a preset's settings, in a folder of its own. Raises ConfigError."""
    from fedcrucible.comparison.plan.request import Options
    from fedcrucible.comparison.session import Request
    from fedcrucible_core.config.load import load, load_assignments, overlaid
    from fedcrucible_core.config.places import runs_folder
    from fedcrucible_core.config.preset import load_preset

    chosen = overlaid(load_preset(preset), load_assignments(settings))
    checked = load(chosen)
    folder = runs_folder(checked.output.dir) / datetime.now(UTC).strftime("demo-%Y%m%dT%H%M%SZ")
    common = {key: value for key, value in chosen.items() if not key.startswith("output.") and key != SEED}
    options = Options(TABLE, seeds=(checked.run.seed,), base=common)
    return Request(options, out=folder, quiet=quiet, every_round=True)


def _print(outcome: Outcome, folder: Path) -> None:
    from fedcrucible.comparison.tables.result_table import print_outcome
    from fedcrucible_core.config.places import cache_folder

    print_outcome(outcome, folder)
    typer.echo(f"caches: {cache_folder()} (generated images, the guide's embeddings); matplotlib keeps its font list")


def _as_object(outcome: Outcome, folder: Path) -> dict[str, object]:
    from fedcrucible.commands.run import as_object
    from fedcrucible_core.records.files import REPORT
    from fedcrucible_core.records.reader import read

    records, causes = outcome.results.records, outcome.results.causes
    return {
        "rows": {
            str(cell.labels["strategy"]): as_object(read(records[cell.key], arrays=False).summary)
            if cell.key in records
            else {"error": causes[cell.key]}
            for cell in outcome.cells
        },
        "report": str(folder / REPORT),
        "seconds": round(outcome.seconds, 1),
    }
