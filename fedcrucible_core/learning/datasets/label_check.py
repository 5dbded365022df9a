"""Labels that are missing or no class, found before anything is trained or measured on them."""

from __future__ import annotations

from dataclasses import replace

from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.datasets.base import PublishedData
from fedcrucible_core.learning.datasets.listing import shown
from fedcrucible_core.learning.tasks import task_of

MANY_CLASSES = 50
"""Fewer classes than this may have one input each."""


def with_usable_labels(data: PublishedData) -> PublishedData:
    """``data`` in which each input of each split has a label; splits without any label at all are gone.

    ``test`` without labels becomes None (hidden labels, as competitions publish them), with a note; so does
    ``validation``.  Classes without a training input are a note.

    Raises:
        ConfigError: an empty split, labels that are missing in a part of a split (or in all of train), or that are no
            class; the message names every such split and how many labels.  Or each input has its own label.
    """
    noun = task_of(data.info).noun
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    empty = [name for name, split in splits.items() if split is not None and not len(split)]
    if empty:
        raise ConfigError("task.dataset", data.info.name, f"no {noun} in the {' and the '.join(empty)} split")
    hidden = [name for name in ("validation", "test") if _without_labels(splits[name])]
    problems = [
        problem
        for name, split in splits.items()
        if split is not None and name not in hidden
        for problem in _problems(name, split, data.info.num_classes)
    ]
    if problems:
        raise ConfigError("task.dataset", data.info.name, "; ".join(problems))
    if data.info.num_classes >= max(len(data.train), MANY_CLASSES):
        allowed = (
            f"has {data.info.num_classes} different labels for {len(data.train)} training {noun}s: ids, not classes"
        )
        raise ConfigError("task.dataset", data.info.name, allowed)
    notes = [f"none of the {len(splits[name] or ())} {name} {noun}s has a label" for name in hidden]
    lacking = sorted(set(range(data.info.num_classes)) - set(data.train.labels.tolist()))
    if lacking:
        notes.append(f"train has no {noun} of {shown([data.info.class_names[number] for number in lacking])}")
    return replace(data, **dict.fromkeys(hidden), notes=(*data.notes, *notes))  # type: ignore[arg-type]


def _without_labels(split: Labeled | None) -> bool:
    return split is not None and bool((split.labels < 0).all())


def _problems(name: str, split: Labeled, num_classes: int) -> list[str]:
    missing = int((split.labels < 0).sum())
    beyond = split.labels[split.labels >= num_classes]
    found = []
    if missing:
        found.append(f"{missing} of {len(split)} labels of the {name} split are missing (None or negative)")
    if len(beyond):
        allowed = f"no class (e.g. {int(beyond[0])}; classes are 0 to {num_classes - 1})"
        found.append(f"{len(beyond)} of {len(split)} labels of the {name} split are {allowed}")
    return found
