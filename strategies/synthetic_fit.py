"""Training on the server's synthetic data: settings of pre-training and of distillation, and the one way they fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from defenses.kernels.distillation import unlearning_loss
from defenses.sanitizing import SyntheticSet
from defenses.support.server_training import is_channels_last
from fedcrucible_core.config.sections import FmFlSection
from fedcrucible_core.learning.fit import minimise, training_mode
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.optimisers import OptimiserName


@dataclass(frozen=True)
class Settings:
    """How the server trains on its synthetic data."""

    lr: float
    epochs: int
    batch_size: int
    optimiser: OptimiserName
    momentum: float
    beta1: float
    beta2: float
    epsilon: float
    weight_decay: float
    clip: float
    unlearn_weight: float
    precision: str

    @classmethod
    def of(cls, section: FmFlSection, lr: float, epochs: int, precision: str) -> Settings:
        """Those of the section, with a learning rate and a length."""
        return cls(
            lr, epochs, section.batch_size, section.optimiser, section.momentum, section.beta1, section.beta2,
            section.epsilon, section.weight_decay, section.grad_clip, section.unlearn_weight, precision,
        )  # fmt: skip


def fit_to(
    model: SplitModel,
    data: SyntheticSet,
    loss: Callable[[Tensor, Tensor, Tensor], Tensor],
    settings: Settings,
    rng: torch.Generator,
) -> float:
    """Train ``model`` in place; returns the last epoch's mean loss.

    ``loss`` maps logits ``[b, C]``, labels ``[b]`` and row numbers ``[b]`` to losses ``[b]``.  Samples that shall be
    unlearned have another: ``unlearn_weight`` times -log(1 - p(y)).  ``data`` lies on the model's device.
    """
    layout = torch.channels_last if is_channels_last(model) else torch.contiguous_format
    inputs = data.data.inputs.contiguous(memory_format=layout)
    labels, unlearned = data.data.labels, data.unlearned
    any_unlearned = bool(unlearned.any())

    def mean_loss(rows: Tensor) -> Tensor:
        logits, y = model(inputs[rows]), labels[rows]
        each = loss(logits, y, rows)
        if any_unlearned:
            each = torch.where(unlearned[rows], settings.unlearn_weight * unlearning_loss(logits, y), each)
        return each.mean()

    losses = minimise(
        model.parameters(), mean_loss, len(data), settings, rng, epochs=settings.epochs,
        mode=partial(training_mode, model), precision=settings.precision, clip=settings.clip,
    )  # fmt: skip
    return losses[-1]
