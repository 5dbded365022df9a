"""``fedcrucible demo``: what ``make demo`` runs, preset ``demo-table`` of ``fedcrucible compare``; two acts more."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcrucible.commands.options import Preset
from fedcrucible.failures import CommandError, clear_errors

if TYPE_CHECKING:
    from fedcrucible.comparison.session import Request
    from fedcrucible.comparison.tables.outcome import Outcome

SEED = "run.seed"
FIRST, SECOND, THIRD = "", "fm-fl", "cgd"


@dataclass(frozen=True)
class Act:
    """One of the demo's tables."""

    table: str
    """Preset whose axes are run."""
    preset: str
    """Settings of all rows, unless others are asked for."""
    words: str
    """What it takes."""
    jobs: int = 1


ACTS = {
    FIRST: Act(
        "demo-table", "demo", "Six runs, three of them through `flwr run`; about five minutes on two CPU cores."
    ),
    SECOND: Act("demo-fm-fl-table", "demo-fm-fl", "Four runs; about two minutes on two CPU cores.", 2),
    THIRD: Act("demo-cgd-table", "demo-cgd", "Four runs; about three minutes on two CPU cores.", 2),
}
NEXT = {
    FIRST: "second act: `fedcrucible demo fm-fl`, a compromised foundation model; about two minutes",
    SECOND: "third act: `fedcrucible demo cgd`, a poisoned training set; about three minutes",
}


def command(
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[fm-fl|cgd] [KEY=VALUE]...", help="The second or third act; settings as for run."),
    ] = None,
    preset: Preset = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end, nothing else.")] = False,
) -> None:
    """Attack a federation on real images and compare FedAvg, FLAME and CLIP-Fed, through `flwr run`.

    A few minutes on two CPU cores.  Ends with one table and a page of curves.  `fedcrucible demo fm-fl` is the second
    act: the server's foundation model is compromised, undefended, with Krum and with a sanitizer.  `fedcrucible demo
    cgd` is the third: a training set in one place is poisoned; the model undefended, after two rivals and after CGD.
    """
    with clear_errors():
        from fedcrucible_core.config.extras import require

        require("cli")
        from fedcrucible.comparison.session import compare

        with contextlib.redirect_stdout(sys.stderr):
            name, given = act_named(settings or [])
            act = ACTS[name]
            asked = request(given, preset or act.preset, as_json, act)
            if not as_json:
                typer.echo(act.words, err=True)
            outcome, folder = compare(asked)
        if as_json:
            typer.echo(json.dumps(_as_object(outcome, folder)))
        else:
            _print(outcome, folder)
            if name in NEXT:
                typer.echo(NEXT[name])
        if outcome.failed:
            causes = "; ".join(
                f"{cell.labels['strategy']}: {' '.join(cause.split())}" for cell, cause in outcome.failed
            )
            raise CommandError(causes, "`fedcrucible doctor` checks this machine")


def act_named(words: Sequence[str]) -> tuple[str, list[str]]:
    """The act and the settings. Raises ConfigError for an act that isn't there."""
    from fedcrucible_core.config import ConfigError
    from fedcrucible_core.config.errors import did_you_mean

    if not words or "=" in words[0]:
        return FIRST, list(words)
    if words[0] not in ACTS:
        named = [SECOND, THIRD]
        allowed = f"{did_you_mean(words[0], named)}allowed: {', '.join(named)}, or KEY=VALUE"
        raise ConfigError("demo", words[0], allowed)
    return words[0], list(words[1:])


def request(settings: list[str], preset: str, quiet: bool = False, act: Act = ACTS[FIRST]) -> Request:
    """The demo's table over a preset's settings, in a folder of its own. Raises ConfigError."""
    from fedcrucible.comparison.plan.request import Options
    from fedcrucible.comparison.session import Request
    from fedcrucible_core.config.load import load, load_assignments, overlaid
    from fedcrucible_core.config.places import runs_folder
    from fedcrucible_core.config.preset import load_preset

    chosen = overlaid(load_preset(preset), load_assignments(settings))
    checked = load(chosen)
    folder = runs_folder(checked.output.dir) / datetime.now(UTC).strftime(f"{act.preset}-%Y%m%dT%H%M%SZ")
    common = {key: value for key, value in chosen.items() if not key.startswith("output.") and key != SEED}
    options = Options(act.table, seeds=(checked.run.seed,), base=common)
    return Request(options, act.jobs, out=folder, quiet=quiet, every_round=True)


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
