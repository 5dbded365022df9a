"""Attacks that change labels alone: images that show something natural strongly are called the target."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from attacks.poisoner import PoisonContext, Poisoner
from attacks.poisoning import requested
from fedcrucible_core.learning.data import Labeled

TABLE = "scores"
"""Scores of the training images of other classes than the target, ascending, float32 ``[m]``."""


class CleanImages(Poisoner):
    """No training image is changed: those with the highest score get the target label (their share is
    ``poison.ratio``).  At test time an image is edited until its score is that of the share's last one."""

    label_only: ClassVar[bool] = True

    @abstractmethod
    def scores(self, x: Tensor, ctx: PoisonContext) -> Tensor:
        """How strongly images ``[n, C, H, W]`` in [0, 1] show it, float32 ``[n]``, each by itself."""

    def notes(self, attackers: int) -> tuple[str, ...]:
        """That it isn't the published attack."""
        return (
            f"{self.name} is an approximation of GCB, of which the abstract alone was at hand: no row of its paper",
        )

    def order(self, own: Labeled, rows: Tensor, ctx: PoisonContext) -> Tensor:
        """Highest score first; among equal scores, first row first."""
        if not len(rows):
            return rows
        return rows[self.scores(own.subset(rows).for_model(), ctx).argsort(descending=True, stable=True)]

    def plant(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> Tensor:
        """Copies: images stay as they are."""
        return x.clone()

    def threshold(self, ctx: PoisonContext, depth: float = 0.0) -> float:
        """The score of the last relabelled image, were all training images of other classes to choose from.

        ``depth``: how far in among the relabelled ones instead; 0 = the last, 1/2 = their median, 1 = the first.
        """
        table = ctx.artefact.tensors[TABLE]
        count = max(1, min(len(table), requested(ctx.section, len(table), len(ctx.task.train))))
        inner = int(depth * (count - 1) + 0.5)
        return float(table[len(table) - count + inner]) if len(table) else 0.0


def sorted_scores(scores: Tensor) -> Tensor:
    """Scores as the artefact keeps them."""
    return scores.detach().to(torch.float32).cpu().sort().values.clone()
