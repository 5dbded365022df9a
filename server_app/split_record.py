"""What came of a split, for the record: a row a sample with file and scores, and pictures of the most suspicious."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from defenses.kernels.ranks import percentile_ranks
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.places import data_folder
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.datasets import dataset_source, load_task
from fedcrucible_core.learning.datasets.base import Reading
from fedcrucible_core.learning.tasks import task_of
from fedcrucible_core.records.split_table import Part, SplitFacts, SplitRow, Suspect, most_suspicious, write_split
from fedcrucible_core.records.writer import RunRecord
from server_app.synthetic_examples import stored_picture
from strategies.outcome import JudgedSet

SHOWN = 12
"""Suspects that are kept with their pictures."""


def keep_split(record: RunRecord, config: RunConfigBase, judged: JudgedSet) -> None:
    """Write split.csv and split.json. Raises OSError where they can't be written."""
    data = load_task(config.task)
    names: Sequence[str] = ()
    left_out = data.left_out if judged.published else ()
    if judged.published:
        source = dataset_source(config.task.dataset)
        names = source.names(data_folder(config.task.data_dir), Reading.of(config.task))
    rows = split_rows(judged, data.info, names)
    facts = SplitFacts(
        splitter=judged.splitter.name,
        thresholds=judged.splitter.thresholds,
        suspects=suspects(judged, data.info, rows),
    )
    lost = (SplitRow(file=file, part="left out", reason=why) for file, why in left_out)
    write_split(record.folder, facts, [*rows, *lost])


def split_rows(judged: JudgedSet, info: DataInfo, names: Sequence[str] = ()) -> list[SplitRow]:
    """One row a sample, in the order of the set; ``names`` are the files of the published set's rows."""
    count, labels = len(judged.data), judged.data.labels.tolist()
    numbers = [-1] * count if judged.data.rows is None else judged.data.rows.tolist()
    parts: list[Part] = ["mixed"] * count
    for place in judged.found.clean.tolist():
        parts[place] = "clean"
    for place in judged.found.triggered.tolist():
        parts[place] = "triggered"
    columns = {name: _column(judged, f"s_{name}") for name in ("guide", "model")}
    truth = [None] * count if judged.poisoned is None else judged.poisoned.tolist()
    rows = []
    for place, label in enumerate(labels):
        number = numbers[place]
        rows.append(
            SplitRow(
                row=number if number >= 0 else None,
                file=names[number] if 0 <= number < len(names) else "",
                label=label,
                class_name=info.class_names[label] if label >= 0 else "",
                part=parts[place],
                s_guide=columns["guide"][0][place],
                s_model=columns["model"][0][place],
                rank_guide=columns["guide"][1][place],
                rank_model=columns["model"][1][place],
                poisoned=truth[place],
            )
        )
    return rows


def suspects(judged: JudgedSet, info: DataInfo, rows: list[SplitRow]) -> tuple[Suspect, ...]:
    """The most suspicious samples with their pictures or texts."""
    places, task = most_suspicious(rows, SHOWN), task_of(info)
    inputs = judged.data.inputs[torch.tensor(places, dtype=torch.int64, device=judged.data.inputs.device)].cpu()
    if task.pictured:
        return tuple(Suspect(sample=rows[p], picture=stored_picture(x)) for p, x in zip(places, inputs, strict=True))
    texts = task.decode(inputs) or ()
    return tuple(Suspect(sample=rows[p], text=text) for p, text in zip(places, texts, strict=True))


def _column(judged: JudgedSet, score: str) -> tuple[list[float | None], list[float | None]]:
    values: Tensor | None = judged.found.scores.get(score)
    if values is None:
        return [None] * len(judged.data), [None] * len(judged.data)
    return values.tolist(), percentile_ranks(values).tolist()
