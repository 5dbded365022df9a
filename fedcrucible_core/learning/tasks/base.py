"""The contract of a task: what a run must know of its inputs beyond their being tensors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import TrainingSection
from fedcrucible_core.learning.data import DataInfo


@dataclass(frozen=True)
class Task(ABC):
    """Inputs of one kind.  A data set says by ``DataInfo.task`` which; ``load_task`` reads the splits of any.

    An input is one tensor, whatever its kind; a model takes a batch of them (see :class:`Labeled`).
    """

    noun: ClassVar[str]
    """What one input is called."""
    pictured: ClassVar[bool] = False
    """Whether inputs can be shown as pictures."""
    info: DataInfo

    @abstractmethod
    def random_inputs(self, n: int, rng: torch.Generator) -> Tensor:
        """``n`` inputs of no meaning, as a model takes them, on the CPU; the same for the same generator's state."""

    def decode(self, inputs: Tensor) -> list[str] | None:  # noqa: ARG002
        """What a reader can read of inputs ``[n, ...]``; None = nothing, pictures are shown as such."""
        return None

    @property
    def form(self) -> str:
        """What one input is like, in words: inputs of two data sets fit one model where these agree."""
        return f"of shape {' x '.join(map(str, self.info.shape))}"

    @property
    def energy_bound(self) -> float | None:
        """Largest sum of squares of an input as the first layer hands it on; None = no bound is known."""
        return None

    def check(self, training: TrainingSection) -> None:
        """Raise ConfigError for a way to train that inputs of this kind don't allow."""
        if training.augment != "none":
            allowed = f"augments images, {self.info.name} has inputs of task {self.info.task!r}; allowed: none"
            raise ConfigError("training.augment", training.augment, allowed)


TASKS: dict[str, type[Task]] = {}
"""Tasks by the name that ``DataInfo.task`` says."""

T = TypeVar("T", bound=type[Task])


def register(name: str, kind: T) -> T:
    """Add a task. Raises ValueError when another one has the name."""
    if TASKS.setdefault(name, kind) is not kind:
        raise ValueError(f"task {name!r} is {TASKS[name].__qualname__} already")
    return kind


def task_of(info: DataInfo) -> Task:
    """The task of a data set.

    Raises:
        ConfigError: there is none of that name here.
    """
    if info.task not in TASKS:
        raise ConfigError("task.dataset", info.name, f"is of task {info.task!r}; known are {', '.join(TASKS)}")
    return TASKS[info.task](info)
