"""The few synthetic samples of the server that a record keeps: poisoned and clean ones, kept and flagged ones."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from defenses.sanitizing import FATES, SyntheticSet
from fedcrucible_core.learning.tasks import Task
from fedcrucible_core.records.synthetic import StoredPicture, SyntheticExample, SyntheticExamples
from fedcrucible_core.records.writer import RunRecord

SHOWN = 12


def keep_synthetic(record: RunRecord, task: Task, data: SyntheticSet | None) -> None:
    """Write some of them, with what became of each; nothing where there are none."""
    if data is not None:
        record.save_synthetic(synthetic_examples(data, task, sanitized="flagged" in data.facts))


def synthetic_examples(made: SyntheticSet, task: Task, *, sanitized: bool) -> SyntheticExamples:
    """At most ``SHOWN`` samples of the set as it was before the sanitizer, with what became of each."""
    if made.before is None or made.fates is None:
        return SyntheticExamples()
    data, poisoned, fates = made.before.data, made.before.poisoned, made.fates.cpu()
    labels_now = _labels_now(made, fates)
    rows = spread_rows(poisoned, fates != FATES.index("kept"))
    texts = None if task.pictured else task.decode(data.inputs[rows])
    examples = []
    for place, row in enumerate(rows.tolist()):
        label, now = int(data.labels[row]), int(labels_now[row])
        examples.append(
            SyntheticExample(
                label=label,
                used_as=now if now != label else None,
                poisoned=None if poisoned is None else bool(poisoned[row]),
                fate=FATES[int(fates[row])],
                picture=stored_picture(data.inputs[row]) if task.pictured else None,
                text=texts[place] if texts is not None else "",
            )
        )
    return SyntheticExamples(sanitized=sanitized, examples=tuple(examples))


def spread_rows(poisoned: Tensor | None, flagged: Tensor) -> Tensor:
    """Rows of all four kinds by turns, poisoned ones first, evenly over each kind; int64, at most ``SHOWN``."""
    bad = torch.zeros_like(flagged) if poisoned is None else poisoned.cpu()
    kinds = [(which & how).nonzero().flatten() for which in (bad, ~bad) for how in (flagged, ~flagged)]
    spread = [rows[torch.linspace(0, len(rows) - 1, min(SHOWN, len(rows))).long()].tolist() for rows in kinds]
    turns = itertools.zip_longest(*spread)
    found = [row for turn in turns for row in turn if row is not None][:SHOWN]
    order = {row: kind for kind, rows in enumerate(spread) for row in rows}
    return torch.tensor(sorted(found, key=lambda row: (order[row], row)), dtype=torch.int64)


def _labels_now(made: SyntheticSet, fates: Tensor) -> Tensor:
    """The class each sample is used as; of dropped ones the one that they came with."""
    assert made.before is not None
    labels = made.before.data.labels.clone().cpu()
    labels[fates != FATES.index("dropped")] = made.data.labels.cpu()
    return labels


def stored_picture(pixels: Tensor) -> StoredPicture:
    """A picture ``[C, H, W]``, uint8 or float in [0, 1], as a record keeps it."""
    pixels = pixels if pixels.dtype == torch.uint8 else pixels.clamp(0, 1).mul(255.0).round()
    return StoredPicture.of(pixels.to("cpu", torch.uint8).numpy())
