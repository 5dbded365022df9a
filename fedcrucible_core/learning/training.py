"""A client's local training, over tensors prepared once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fedcrucible_core.config.sections import TrainingSection
from fedcrucible_core.learning.fit import FitHook, minimise, training_mode
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.tasks.vision import crop_flip


class TrainingHook:
    """What an attacker does inside the training loop; each method does nothing unless overridden.

    A hook belongs to one training: it may keep the start it was given and count steps.
    """

    def loss(self, model: nn.Module, loss: Tensor) -> Tensor:  # noqa: ARG002
        """The objective to differentiate, from the batch's cross-entropy; further terms may use the parameters."""
        return loss

    def after_backward(self, model: nn.Module) -> None:
        """Change the gradients (unscaled in every precision) before the optimiser uses them."""

    def after_step(self, model: nn.Module, *, last_of_epoch: bool) -> None:
        """Change the parameters after the optimiser's step."""


class HookChain(TrainingHook):
    """Several hooks, each applied to what the one before it left."""

    def __init__(self, *hooks: TrainingHook) -> None:
        self.hooks = hooks

    def loss(self, model: nn.Module, loss: Tensor) -> Tensor:
        """All terms."""
        for hook in self.hooks:
            loss = hook.loss(model, loss)
        return loss

    def after_backward(self, model: nn.Module) -> None:
        """All changes of the gradients."""
        for hook in self.hooks:
            hook.after_backward(model)

    def after_step(self, model: nn.Module, *, last_of_epoch: bool) -> None:
        """All changes of the parameters."""
        for hook in self.hooks:
            hook.after_step(model, last_of_epoch=last_of_epoch)


class _OnModel(FitHook):
    """A training hook, told of its model."""

    def __init__(self, hook: TrainingHook, model: nn.Module) -> None:
        self.hook, self.model = hook, model

    def loss(self, loss: Tensor) -> Tensor:
        return self.hook.loss(self.model, loss)

    def after_backward(self) -> None:
        self.hook.after_backward(self.model)

    def after_step(self, *, last_of_epoch: bool) -> None:
        self.hook.after_step(self.model, last_of_epoch=last_of_epoch)


def train(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    settings: TrainingSection,
    rng: torch.Generator,
    *,
    precision: str = "fp32",
    hook: TrainingHook | None = None,
    objective: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> float:
    """Train ``model`` in place with an optimiser that remembers nothing yet; returns the last epoch's mean loss.

    The model ends in eval mode.

    ``objective`` maps a batch ``(x, y)`` to its mean loss; None = cross-entropy of ``model(x)``.

    ``inputs`` ``[n, ...]`` as the model takes them and ``labels`` int64 ``[n]`` lie on the model's device.  ``rng``
    (CPU) draws the shuffles and the augmentation.  ``hook`` acts inside the loop; the loss that is reported stays the
    objective's, whatever the hook adds to it.
    """
    n = len(inputs)
    if n == 0:
        raise ValueError("a client without images can't train")

    def loss(rows: Tensor) -> Tensor:
        x, y = inputs[rows], labels[rows]
        if settings.augment == "crop-flip":
            x = crop_flip(x, rng)
        return F.cross_entropy(model(x), y) if objective is None else objective(x, y)

    losses = minimise(
        model.parameters(), loss, n, settings, rng, epochs=settings.local_epochs, mode=partial(training_mode, model),
        precision=precision, hook=None if hook is None else _OnModel(hook, model),
    )  # fmt: skip
    return losses[-1]


class LocalTraining(Protocol):
    """A client's way to train a split model in place; :func:`train` is the plain one."""

    def __call__(
        self,
        model: SplitModel,
        inputs: Tensor,
        labels: Tensor,
        settings: TrainingSection,
        rng: torch.Generator,
        *,
        precision: str = "fp32",
    ) -> float:
        """Mean loss of the last epoch."""
