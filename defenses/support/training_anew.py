"""What repairs share that keep nothing of the model: they train a fresh one on the suspicious set."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch

from defenses.base import Needs, Repair, RepairContext
from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.bounds import set_bounds
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.tasks import task_of

LARGEST_SEED = 2**62


class TrainingAnew(Repair):
    """Trains a fresh model of the run's architecture by a way that the poison shall not survive."""

    from_scratch: ClassVar[bool] = True
    knowledge: ClassVar[tuple[str, ...]] = ("the poisoned training set",)
    pictures_only: ClassVar[bool] = False
    """True: its views or blends are those of pictures."""

    @property
    def needs(self) -> Needs:
        """What the model was trained on."""
        return Needs(suspects=True)

    def check(self, model: SplitModel, info: DataInfo) -> None:
        """Raise ConfigError where it works on pictures and there are none."""
        if self.pictures_only:
            require_pictures(self.name, info)

    def repair(self, model: SplitModel, context: RepairContext) -> dict[str, float]:
        """Replace what ``model`` has learned by what a fresh one learns; facts are the trainer's own."""
        data = context.require_suspects().data
        fresh = untrained(context)
        facts = self.train(fresh, data, context)
        set_bounds(model, {})
        model.load_state_dict(fresh.state_dict())
        model.eval()
        return facts

    @abstractmethod
    def train(self, model: SplitModel, data: Labeled, context: RepairContext) -> dict[str, float]:
        """Train the untrained ``model`` in place on ``data``, which lies on its device; returns diagnostics."""


def untrained(context: RepairContext) -> SplitModel:
    """A fresh model, its weights drawn from the repair's generator."""
    return context.require_untrained()(int(torch.randint(LARGEST_SEED, (), generator=context.rng)))


def require_pictures(repair: str, info: DataInfo) -> None:
    """Raise ConfigError where inputs are no pictures."""
    if not task_of(info).pictured:
        raise ConfigError(
            "repair.name", repair, f"works on views of pictures, {info.name} has those of task {info.task!r}"
        )
