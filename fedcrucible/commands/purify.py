"""``fedcrucible purify``: a doubtful training set in, its split and a purified model out."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcrucible.commands.options import Preset, Settings
from fedcrucible.failures import CommandError, RecordFolder, clear_errors

if TYPE_CHECKING:
    from fedcrucible.purification_result import Purification
    from fedcrucible.purifying import Request


def command(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Folder of pictures by class, .csv, .jsonl or .npz file, hf:ORG/NAME, or a data set of ours.",
        ),
    ],
    settings: Settings = None,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="FILE|RECORD",
            help="The suspicious model: a state dict (.pt, .pth, .safetensors), or the record of a run. Without it "
            "one is trained on the set first: 10 epochs, or run.rounds=N.",
        ),
    ] = "",
    architecture: Annotated[
        str,
        typer.Option(
            "--architecture", metavar="NAME", help="Of which network: one of ours, torchvision:NAME or timm:NAME."
        ),
    ] = "",
    method: Annotated[str, typer.Option("--method", help="What purifies; `fedcrucible list repairs`.")] = "cgd-unlearn",
    scorer: Annotated[
        str,
        typer.Option(
            "--scorer",
            metavar="FILE",
            help="What scores in place of freshly trained models: .onnx, TorchScript, logits of each row (.npz, .csv).",
        ),
    ] = "",
    out: Annotated[str, typer.Option("--out", "-o", metavar="FOLDER", help="Where the record goes.")] = "",
    preset: Preset = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end, nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the result.")] = False,
) -> None:
    """Split a training set that may be poisoned, and purify the model that was trained on it.

    An ordinary central run: split.csv says of every sample whether it is clean, triggered or mixed, by which scores;
    model.safetensors is the purified model, purified.safetensors the same under torchvision's or timm's own names.
    An interrupted one goes on with run.resume=true and the same --out. Settings are those of `fedcrucible run`, e.g.
    task.image_size=32. Exit code 1: the method failed and the model is the one before.
    """
    with clear_errors() as record:
        with contextlib.redirect_stdout(sys.stderr):
            from fedcrucible.purifying import Request
            from fedcrucible_core.config.load import load_assignments, overlaid
            from fedcrucible_core.config.preset import load_preset

            given = overlaid(load_preset(preset), load_assignments(settings or []))
            found = purify(Request(data, model, architecture, method, out, scorer, given), quiet, record)
        if as_json:
            typer.echo(json.dumps(as_object(found)))
        else:
            _print(found)
        if not found.purified:
            raise CommandError(f"nothing was purified: {found.reason}", f"the record is whole: {found.run.folder}")


def purify(request: Request, quiet: bool, record: RecordFolder) -> Purification:
    """Check, run, and read back what came of it."""
    from fedcrucible.progress import progress_display
    from fedcrucible.purification_result import Purification
    from fedcrucible.purifying import plan_of, purified_model, run
    from fedcrucible.run_result import Run

    with progress_display(quiet) as display:
        plan = plan_of(request)
        plan.foundation.told = display.on_step
        display.started(plan.config.run.rounds, tested=plan.data.tested)
        folder = Path(run(plan, [display], display.on_reply, record.learn).folder)
    return Purification(Run(folder), purified_model(plan, folder), plan.data.tested)


def rates(found: Purification) -> dict[str, float | None]:
    """MA before and after, in percent; None without a test split."""
    from fedcrucible.purification_result import last_facts

    if not found.tested:
        return {"before": None, "after": None}
    return {"before": last_facts(found.run).get("repair.ma_before_percent"), "after": found.run.ma_percent}


def as_object(found: Purification) -> dict[str, object]:
    """The result for machines; MA in percent, None where the set has no test split."""
    from fedcrucible.purification_result import PARTS, last_facts, notes_of

    facts, where = last_facts(found.run), _files(found)
    return {
        "purified": found.purified,
        "reason": found.reason,
        "MA": rates(found),
        "unit": "percent",
        "split": {part: int(facts[f"repair.split_{part}"]) for part in PARTS if f"repair.split_{part}" in facts},
        **{name: str(path) for name, path in where.items()},
        "record": str(found.run.folder),
        "peak_memory_mb": found.run.summary.peak_memory_mb,
        "seconds": round(found.run.summary.seconds_total, 3),
        "notes": list(notes_of(found.run)),
    }


def _files(found: Purification) -> dict[str, Path]:
    from fedcrucible_core.records import files

    named = {"csv": files.SPLIT, "model": files.MODEL, "library_model": files.PURIFIED, "report": files.REPORT}
    places = {name: found.run.folder / file for name, file in named.items()}
    return {name: path for name, path in places.items() if path.is_file()}


def _print(found: Purification) -> None:
    from rich.table import Table

    from fedcrucible.catalogue_text import console
    from fedcrucible.purification_result import PARTS, last_facts, notes_of
    from server_app.console import percent

    facts, ma, record = last_facts(found.run), rates(found), found.run.record
    title = f"{record.run.repair} on {record.run.dataset}, seed {record.run.seed}"
    table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim")
    if found.tested:
        table.add_row("MA before", percent(ma["before"]), f"of the {record.config['task.eval_split']} split")
        table.add_row("MA after", percent(ma["after"]), "")
    else:
        table.add_row("MA", "-", "the set has no test split: nothing honest can be measured")
    for part in PARTS:
        if (count := facts.get(f"repair.split_{part}")) is not None:
            table.add_row(part, f"{count:,.0f}", MEANINGS[part])
    if "repair.split_clean" not in facts:
        table.add_row("split", "-", f"{record.run.repair} splits nothing")
    peak = found.run.summary.peak_memory_mb
    table.add_row("time", f"{found.run.summary.seconds_total:.1f} s", "" if peak is None else f"peak {peak:,.0f} MB")
    console().print(table)
    for note in notes_of(found.run):
        typer.echo(f"note: {note}")
    for name, path in _files(found).items():
        typer.echo(f"{TITLES[name]}: {path}")


MEANINGS = {
    "clean": "samples whose label is trusted",
    "triggered": "samples that look poisoned",
    "mixed": "samples that are neither",
}
TITLES = {"csv": "split", "model": "model", "library_model": "model under the library's names", "report": "report"}
