"""``fedcrucible data``: what a run would train and measure on, and what of it could not be used."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from fedcrucible.commands.options import Preset, Settings
from fedcrucible.failures import clear_errors

if TYPE_CHECKING:
    from fedcrucible_core.learning.data import DataSplits, Labeled
    from fedcrucible_core.learning.tasks import Task

SAMPLES = ("task.train_samples", "task.test_samples")
"""Settings that are 0 (all) here unless they are given: the question is what there is."""
SHOWN = 160
"""Characters of a text that are shown."""


@dataclass(frozen=True)
class DataReport:
    """A configured data set: inputs by class and split, and what a reader has to know."""

    dataset: str
    folder: str
    noun: str
    """What one input is called."""
    shape: tuple[int, ...]
    """Of one input; (C, H, W) of an image."""
    form: str
    """What one input is like, in words."""
    channels: int | None
    """Of an image; None where inputs are no pictures, as ``height`` and ``width`` are."""
    height: int | None
    width: int | None
    images: dict[str, int]
    """Split -> number of inputs."""
    classes: list[dict[str, str | int]]
    """In label order: ``label``, ``name``, and the number of its images in each split."""
    names_like_ids: list[str]
    """Class names that say nothing to a guide."""
    notes: list[str]
    examples: list[dict[str, str]]
    """Of texts: ``class`` and ``text`` of the first training text of each class, as token ids hold it."""


def command(
    settings: Settings = None,
    preset: Preset = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Read a data set as a run would: images or texts by class and split, their size, and what was left out and why.

    Takes the settings of `fedcrucible run`, e.g. task.dataset=folder task.data_dir=/my/pictures; all are counted
    unless task.train_samples or task.test_samples say otherwise.
    """
    with clear_errors():
        with contextlib.redirect_stdout(sys.stderr):
            report = examine(settings or [], preset)
        if as_json:
            typer.echo(json.dumps(asdict(report), indent=1))
        else:
            _print(report)


def examine(settings: Sequence[str], preset: str = "") -> DataReport:
    """Read the data set that the settings name. Raises ConfigError."""
    from fedcrucible_core.config.load import load, load_assignments, overlaid
    from fedcrucible_core.config.places import data_folder
    from fedcrucible_core.config.preset import load_preset
    from fedcrucible_core.learning.datasets import load_task
    from fedcrucible_core.learning.datasets.class_names import ids_among
    from fedcrucible_core.learning.tasks import task_of

    task = load(overlaid(dict.fromkeys(SAMPLES, 0), load_preset(preset), load_assignments(settings))).task
    data = load_task(task)
    kind = task_of(data.info)
    channels, height, width = data.info.image_shape if kind.pictured else (None, None, None)
    return DataReport(
        task.dataset,
        str(data_folder(task.data_dir)),
        kind.noun,
        data.info.shape,
        kind.form,
        channels,
        height,
        width,
        {split: len(images) for split, images in _splits(data).items()},
        _classes(data),
        list(ids_among(data.info.class_names)),
        [*data.notes, *_cut(data, kind)],
        _examples(data, kind),
    )


def _splits(data: DataSplits) -> dict[str, Labeled]:
    return {"train": data.train, "validation": data.validation, "test": data.test}


def _classes(data: DataSplits) -> list[dict[str, str | int]]:
    names = data.info.class_names
    counts = {split: images.labels.bincount(minlength=len(names)).tolist() for split, images in _splits(data).items()}
    return [
        {"label": label, "name": name, **{split: of_class[label] for split, of_class in counts.items()}}
        for label, name in enumerate(names)
    ]


def _examples(data: DataSplits, kind: Task) -> list[dict[str, str]]:
    from fedcrucible_core.learning.tasks import TextTask

    if not isinstance(kind, TextTask):
        return []
    labels = data.train.labels.tolist()
    firsts = {label: labels.index(label) for label in sorted(set(labels))}
    texts = kind.decode(data.train.inputs[list(firsts.values())])
    return [{"class": data.info.class_names[label], "text": text} for label, text in zip(firsts, texts, strict=True)]


def _cut(data: DataSplits, kind: Task) -> list[str]:
    """How many training texts fill all that they may have: what was longer is gone."""
    from fedcrucible_core.learning.tasks import TextTask

    if not isinstance(kind, TextTask):
        return []
    full = int(kind.full(data.train.inputs).sum())
    why = f"fill all {kind.room} tokens that they may have: what was longer is cut (task.max_length)"
    return [f"{full} of {len(data.train)} training texts {why}"] if full else []


def _form(report: DataReport) -> str:
    """What one input looks like."""
    if report.channels is None:
        return f"{report.noun}s {report.form}"
    return f"{report.width} x {report.height} pixels, {'grey' if report.channels == 1 else 'colour'}"


def _print(report: DataReport) -> None:
    from rich.markup import escape
    from rich.table import Table

    from fedcrucible.catalogue_text import console
    from fedcrucible_core.config.plain_text import plain_text

    typer.echo(f"{report.dataset} in {report.folder}")
    classes = f"{len(report.classes)} classes" if len(report.classes) > 1 else "one class"
    typer.echo(f"{classes}, {_form(report)}")
    table = Table(box=None, pad_edge=False)
    table.add_column("label", justify="right")
    table.add_column("class", overflow="fold", style="cyan")
    for split in report.images:
        table.add_column(split, justify="right")
    for entry in report.classes:
        counts = (str(entry[split]) for split in report.images)
        table.add_row(str(entry["label"]), escape(plain_text(entry["name"])), *counts)
    table.add_row("", "[bold]all[/]", *(f"[bold]{count}[/]" for count in report.images.values()))
    console().print(table)
    for example in report.examples:
        typer.echo(f"{plain_text(example['class'], 40)}: {plain_text(example['text'], SHOWN)}")
    if len(report.classes) < 2:
        typer.echo("note: a run needs two classes")
    for note in report.notes:
        typer.echo(f"note: {plain_text(note, 600)}")
    if report.names_like_ids:
        listed = ", ".join(plain_text(name, 40) for name in report.names_like_ids[:5])
        typer.echo(f"note: class names look like ids ({listed}); a guide needs words: set task.class_names")
