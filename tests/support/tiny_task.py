"""A task of random images, small enough to check by hand."""

from __future__ import annotations

import torch

from attacks.base import PoisonContext
from attacks.task import AttackTask
from fedcrucible_core.config.sections import TaskSection
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


def context(task: AttackTask | None = None, part: int = 0, seed: int = 0) -> PoisonContext:
    return PoisonContext(task or make_task(labelled(12)), part, generator(seed))
