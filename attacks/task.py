"""The learning task as an attack sees it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.source_classes import source_classes
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.sections import TaskSection
from fedcrucible_core.learning.data import DataInfo, DataSplits, Labeled


@dataclass(frozen=True)
class AttackTask:
    """What every attacker and the measurement take as given; the same in every process of a run."""

    target: int
    """The target class y'."""
    info: DataInfo
    train: Labeled
    """All training images of the run.  An attack that uses more of them than the attacker owns says so in its
    ``knowledge``."""
    section: TaskSection
    """Names the data set, for lists that number its published images."""
    classes: tuple[int, ...] = ()
    """The classes that the attack is confined to, in training and where success is measured; empty = to none."""

    @classmethod
    def of(cls, config: RunConfigBase, data: DataSplits) -> AttackTask:
        """The task of a run whose data are ``data``. Raises ConfigError for classes that can't be (poison.classes)."""
        classes = source_classes(config, data.info)
        return cls(config.poison.target_label, data.info, data.train, config.task, classes)

    def concerns(self, labels: Tensor) -> Tensor:
        """Which samples of true classes int64 ``[n]`` are of a class that the attack is confined to, bool ``[n]``."""
        if not self.classes:
            return torch.ones_like(labels, dtype=torch.bool)
        return torch.isin(labels, torch.tensor(self.classes, device=labels.device))

    def source_class(self, key: str, label: int) -> int:
        """A class that is not the target; -1 = the last such class.

        Raises ConfigError, naming ``key``, for the target or a label that is no class.
        """
        last = self.info.num_classes - 1
        if label == -1:
            return last - 1 if self.target == last else last
        if label > last or label == self.target:
            allowed = f"allowed: -1, or 0 to {last} but for the target class {self.target}"
            raise ConfigError(key, label, allowed)
        return label
