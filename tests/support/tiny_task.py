"""A task of random images, small enough to check by hand."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from attacks.poisoner import PoisonContext, Poisoner
from attacks.task import AttackTask
from fedcrucible_core.config.sections import PoisonSection, TaskSection
from fedcrucible_core.learning.data import DataInfo, Labeled

GREY, COLOUR = (1, 28, 28), (3, 32, 32)
CLASSES = 6


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def labelled(count: int, shape: tuple[int, int, int] = COLOUR, seed: int = 9) -> Labeled:
    """Images without extreme pixels, so that every trigger changes them; labels 0..5 in turn."""
    pixels = torch.randint(26, 230, (count, *shape), dtype=torch.uint8, generator=generator(seed))
    return Labeled(pixels, torch.arange(count) % CLASSES)


def make_task(train: Labeled, target: int = 2, classes: int = CLASSES) -> AttackTask:
    shape = (train.inputs.shape[1], train.inputs.shape[2], train.inputs.shape[3])
    info = DataInfo("tiny", tuple("abcdefghij"[:classes]), shape, (0.5,) * shape[0], (0.5,) * shape[0])
    return AttackTask(target, info, train, TaskSection())


def context(
    task: AttackTask | None = None, part: int | None = 0, seed: int = 0, section: PoisonSection | None = None
) -> PoisonContext:
    return PoisonContext(task or make_task(labelled(12)), section or PoisonSection(), generator(seed), part=part)


def stamped(poisoner: Poisoner, x: Tensor, target: int = 2) -> Tensor:
    """The test form on images whose labels don't matter."""
    shape = (x.shape[1], x.shape[2], x.shape[3])
    task = make_task(labelled(12, shape), target)
    return poisoner.stamp(x, torch.zeros(len(x), dtype=torch.int64), context(task, part=None))


def poisoned_rows(
    poisoner: Poisoner, section: PoisonSection, ctx: PoisonContext, own: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Inputs and labels of the training images ``own`` (all unless given), poisoned as ``section`` says."""
    train = ctx.task.train
    made = poisoner.poison(train if own is None else train.subset(own), replace(ctx, section=section)).data
    return made.inputs, made.labels


def train_form(poisoner: Poisoner, x: Tensor, y: Tensor, ctx: PoisonContext) -> tuple[Tensor, Tensor]:
    """What poisoned training samples become: inputs and labels."""
    return poisoner.stamp(x, y, ctx), poisoner.relabel(y, ctx)


def measured_on(poisoner: Poisoner, test: Labeled, task: AttackTask) -> Labeled:
    """What success is measured on."""
    return poisoner.attacked(test, context(task, part=None))
