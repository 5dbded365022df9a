"""Whether a guide knows the classes at all: where it doesn't, its surprise says nothing of the labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fedcrucible_core.learning.evaluation import classes_of

FEWEST = 5
"""Samples of a class below which nothing is said of it."""
DEVIATIONS = 3.0
"""Standard errors above chance that a guide must be to count as knowing anything."""
NAMED = 5
"""Classes that a note names."""


def guide_notes(logits: Tensor, labels: Tensor, class_names: Sequence[str]) -> tuple[str, ...]:
    """What a reader of a split must know of the guide; nothing where it knows every class.

    Args:
        logits: the guide's, ``[n, C]``.
        labels: as given, int64 ``[n]``; -1 = none.
        class_names: C names.
    """
    logits, labels = logits.cpu(), labels.cpu()
    if not len(labels):
        return ()
    named, classes = classes_of(logits), len(class_names)
    flat = logits.amax(1) - logits.amin(1) <= 1e-6  # no preference is no answer, whatever argmax makes of it
    right = (named == labels) & ~flat
    counts = torch.stack([(labels == label).sum() for label in range(classes)])
    hits = torch.stack([right[labels == label].sum() for label in range(classes)])
    there = counts > 0
    recall = float((hits[there].double() / counts[there].double()).mean()) if bool(there.any()) else 0.0
    chance = 1.0 / classes
    if recall <= chance + DEVIATIONS * math.sqrt(chance * (1.0 - chance) / len(labels)):
        return (
            f"the guide names the given class of {100.0 * recall:.0f} % of the samples (mean over classes; chance is "
            f"{100.0 * chance:.0f} %): it doesn't know these classes, and its ranks say nothing of the labels; set "
            "guide.model",
        )
    unknown = [class_names[i] for i in range(classes) if counts[i] >= FEWEST and not hits[i]]
    if not unknown:
        return ()
    more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
    listed = ", ".join(repr(name) for name in unknown[:NAMED]) + more
    return (
        f"the guide recognises no sample of {listed}: all of these look suspicious, whatever their labels; other "
        "words (task.class_names) or another guide.model may help",
    )
