"""The few inputs that a record keeps for its page: clean, attacked, the server's own."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from fedcrucible_core.foundation.base import ServerData
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.tasks import Task
from fedcrucible_core.records.schema import ExampleTexts
from fedcrucible_core.records.writer import RunRecord
from server_app.evaluation import Evaluator

EXAMPLES = 12
"""Inputs of each kind that a report shows."""


def examples_of(evaluator: Evaluator, server: ServerData | None, *, spread: bool = False) -> dict[str, Labeled]:
    """At most ``EXAMPLES`` inputs of each kind, in the order in which they are shown.

    Where test inputs carry a trigger, the same ones are shown clean.  ``spread``: from all over the set and not its
    first ones, which are of one class where a set is in the order of classes.
    """
    count, attacked = len(evaluator.labels), evaluator.attacked
    shown = torch.arange(0, count, max(1, count // EXAMPLES) if spread else 1)[:EXAMPLES]
    if attacked is not None and attacked.rows is not None and not evaluator.natural:
        shown = attacked.rows[:EXAMPLES]
    found = {"clean": Labeled(evaluator.images[shown], evaluator.labels[shown])} if len(shown) else {}
    if attacked is not None:
        kind = "natural" if evaluator.natural else "triggered"
        found[kind] = Labeled(attacked.inputs[:EXAMPLES], attacked.labels[:EXAMPLES])
    return found if server is None else found | _of_the_server(server)


def _of_the_server(server: ServerData) -> dict[str, Labeled]:
    step = max(1, len(server.originals) // EXAMPLES)
    some = torch.arange(0, len(server.originals), step)[:EXAMPLES]
    found = {"synthetic": server.originals.subset(some)}
    if server.poisoned is not None and bool(server.poisoned.any()):
        found["poisoned"] = server.originals.subset(server.poisoned.nonzero().flatten()[:EXAMPLES])
    if server.augmented is not None:
        found["augmented"] = Labeled(server.augmented[some], server.originals.labels[some])
    return found


def keep_examples(record: RunRecord, task: Task, examples: Mapping[str, Labeled]) -> None:
    """Write them as pictures or as texts; what is neither is not kept."""
    if task.pictured:
        images = {kind: some.inputs for kind, some in examples.items()}
        record.save_examples(images, {kind: some.labels for kind, some in examples.items()})
        return
    read = {kind: task.decode(some.inputs) for kind, some in examples.items()}
    record.save_texts(
        [
            ExampleTexts(kind=kind, texts=tuple(texts), labels=tuple(examples[kind].labels.tolist()))
            for kind, texts in read.items()
            if texts is not None
        ]
    )
