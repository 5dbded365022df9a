"""What attack success is measured on, built once per run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from attacks.task import AttackTask
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.tasks import task_of

if TYPE_CHECKING:
    from attacks.poisoner import PoisonContext, Poisoner

CHUNK = 1000
"""Images stamped at a time, to bound the memory of triggers with large intermediate tensors."""


def triggered_test_set(test: Labeled, poisoner: Poisoner, ctx: PoisonContext) -> Labeled:
    """The whole trigger on every test image that the attack is about and whose true class is not the target.

    With ``poison.classes`` those of these classes alone.

    Natural attacks put no trigger on images: theirs are the test images with the attribute, or inputs held out
    elsewhere.

    Returns:
        Inputs ``[m, ...]`` as the attacker presents them to a model, and their true classes, none of them
        the target.  ``rows`` (ascending) are those of the test images they were made from; None = from elsewhere.

    Raises:
        TypeError: the poisoner is untargeted.
        ValueError: there is no such image, so success can't be measured.
    """
    if not poisoner.targeted:
        raise TypeError(f"poisoner {poisoner.name!r} is untargeted: no ASR is measured")
    images, rows, outside = _inputs(poisoner, test, ctx.task)
    if not len(rows):
        what = f"none of {len(images)} {task_of(ctx.task.info).noun}s is one that ASR could be measured on"
        measured = poisoner.measured_on(ctx.task.info, ctx.task.classes)
        wanted = f"{measured} of another class than the target {ctx.task.target}"
        raise ValueError(f"{what}: {wanted}")
    chosen, whole = images.subset(rows), replace(ctx, part=None)
    if outside:
        return Labeled(chosen.for_model(), chosen.labels, None)
    parts = [chosen.subset(part) for part in torch.split(torch.arange(len(rows)), CHUNK)]
    stamped = [poisoner.stamp(part.for_model(), part.labels, whole) for part in parts]
    return Labeled(torch.cat(stamped), chosen.labels, rows)


def has_inputs(poisoner: Poisoner, test: Labeled, task: AttackTask) -> bool:
    """Whether success of a targeted attack can be measured."""
    return len(_inputs(poisoner, test, task)[1]) > 0


def _inputs(poisoner: Poisoner, test: Labeled, task: AttackTask) -> tuple[Labeled, Tensor, bool]:
    """Images, those rows of them that count, and whether they are from outside ``test``."""
    outside = poisoner.held_out(task)
    images = test if outside is None else outside
    kept = (images.labels != task.target) & task.concerns(images.labels)
    carriers = poisoner.carriers(images, task) if outside is None else None
    return images, (kept if carriers is None else kept & carriers).nonzero().flatten(), outside is not None
