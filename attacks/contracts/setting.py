"""What all checks of attacks stand on: random images, a poisoner on trial, and the sentence of a failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.artefact import Artefact
from attacks.poisoner import PoisonContext, Poisoner
from attacks.task import AttackTask
from fedcrucible_core.config.sections import PoisonSection, TaskSection
from fedcrucible_core.learning.data import DataInfo, Labeled

CLASSES, TARGET = 6, 3
SHAPES = ((1, 28, 28), (3, 32, 32))
"""Grey and colour."""


@dataclass(frozen=True)
class Trial:
    """A poisoner on random images of one shape."""

    poisoner: Poisoner
    task: AttackTask
    artefact: Artefact

    @classmethod
    def of(cls, poisoner: Poisoner, shape: tuple[int, int, int], count: int = 48) -> Trial:
        """Images without extreme pixels, so that every trigger changes them; labels 0..5 in turn."""
        task = task_on(pictures(count, shape, 9))
        return cls(poisoner, task, poisoner.prepare(task, seeded(7)))

    @property
    def data(self) -> Labeled:
        """All images."""
        return self.task.train

    def context(self, part: int | None = 0, seed: int = 0, section: PoisonSection | None = None) -> PoisonContext:
        """What the poisoner is given."""
        chosen = section or section_of(ratio=0.5)
        return PoisonContext(self.task, chosen, seeded(seed), self.artefact, part)

    def whole(self, x: Tensor, y: Tensor) -> Tensor:
        """The test form."""
        return self.poisoner.stamp(x, y, self.context(part=None))


def named(*checks: Callable[..., None]) -> Iterator[tuple[str, Callable[..., None]]]:
    """Each check with its name in words."""
    for check in checks:
        yield check.__name__.replace("_", " "), check


def require(holds: bool, sentence: str) -> None:
    """Raise AssertionError with ``sentence`` unless it holds."""
    if not holds:
        raise AssertionError(sentence)


def section_of(**values: object) -> PoisonSection:
    """Poison settings with the checks' target class."""
    return PoisonSection.model_validate({"target_label": TARGET, **values})


def seeded(seed: int) -> torch.Generator:
    """A CPU generator."""
    return torch.Generator().manual_seed(seed)


def pictures(count: int, shape: tuple[int, int, int], seed: int) -> Labeled:
    """Images uint8 ``[count, C, H, W]`` without extreme pixels; labels 0..5 in turn."""
    pixels = torch.randint(26, 230, (count, *shape), dtype=torch.uint8, generator=seeded(seed))
    return Labeled(pixels, torch.arange(count) % CLASSES)


def task_on(data: Labeled) -> AttackTask:
    """A task of six classes whose training set is ``data``."""
    shape = (data.inputs.shape[1], data.inputs.shape[2], data.inputs.shape[3])
    info = DataInfo("random", tuple("abcdef"), shape, (0.5,) * shape[0], (0.5,) * shape[0])
    return AttackTask(TARGET, info, data, TaskSection.model_validate({}))


def trials(poisoner: Poisoner) -> Iterator[Trial]:
    """The poisoner on grey and on colour images."""
    for shape in SHAPES:
        yield Trial.of(poisoner, shape)


def check_images(made: Tensor, given: Tensor, what: str) -> None:
    """Require float32 images in [0, 1] of the given shape."""
    require(made.shape == given.shape, f"{what} has shape {tuple(made.shape)}, not {tuple(given.shape)}")
    require(made.dtype == torch.float32, f"{what} is {made.dtype}, not float32")
    require(bool(torch.isfinite(made).all()), f"{what} is not finite")
    if len(made):
        require(float(made.min()) >= 0.0 and float(made.max()) <= 1.0, f"{what} leaves the range [0, 1]")


def differing(a: Tensor, b: Tensor) -> Tensor:
    """Which rows differ anywhere, bool ``[n]``."""
    return (a != b).flatten(1).any(1)
