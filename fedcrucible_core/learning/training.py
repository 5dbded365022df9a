"""The one local training loop: plain SGD over tensors prepared once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fedcrucible_core.config.sections import TrainingSection
from fedcrucible_core.learning.device import autocast
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.sgd import SGD


@dataclass(frozen=True)
class TrainResult:
    """What a local training reports: mean loss of the last epoch, samples processed."""

    loss: float
    samples: int


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


def crop_flip(x: Tensor, rng: torch.Generator) -> Tensor:
    """Random crop after 4 pixels of zero padding, and horizontal flip, one draw per image."""
    n, _, height, width = x.shape
    dy = torch.randint(0, 9, (n,), generator=rng)
    dx = torch.randint(0, 9, (n,), generator=rng)
    flip = torch.rand(n, generator=rng) < 0.5
    rows = dy[:, None] + torch.arange(height)
    columns = torch.where(flip[:, None], torch.arange(width - 1, -1, -1), torch.arange(width)) + dx[:, None]
    rows, columns = rows.to(x.device), columns.to(x.device)
    padded = F.pad(x, (4, 4, 4, 4))
    batch = torch.arange(n, device=x.device)[:, None, None]
    return padded[batch, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def train(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    settings: TrainingSection,
    rng: torch.Generator,
    *,
    precision: str = "fp32",
    hook: TrainingHook | None = None,
    objective: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> TrainResult:
    """Train ``model`` in place by SGD with fresh momentum.

    ``objective`` maps a batch ``(x, y)`` to its mean loss; None = cross-entropy of ``model(x)``.

    ``images`` float32 ``[n, C, H, W]`` in [0, 1] and ``labels`` int64 ``[n]`` lie on the model's device.  ``rng`` (CPU)
    draws the shuffles and the augmentation.  A last batch of a single image is joined to the one before it, because
    batch normalisation can't train on one image.  ``hook`` acts inside the loop; the loss that is reported stays the
    cross-entropy, whatever the hook adds to it.
    """
    n = len(images)
    if n == 0:
        raise ValueError("a client without images can't train")
    optimiser = SGD(model.parameters(), settings.lr, settings.momentum, settings.weight_decay)
    scaler = torch.amp.GradScaler(images.device.type, enabled=precision == "fp16")
    bounds = batch_bounds(n, settings.batch_size)
    model.train()
    total = torch.zeros((), device=images.device)
    for _ in range(settings.local_epochs):
        order = torch.randperm(n, generator=rng).to(images.device)
        total.zero_()
        for start, stop in bounds:
            batch = order[start:stop]
            x, y = images[batch], labels[batch]
            if settings.augment == "crop-flip":
                x = crop_flip(x, rng)
            optimiser.zero_grad()
            with autocast(images.device, precision):
                loss = F.cross_entropy(model(x), y) if objective is None else objective(x, y)
            torch.autograd.backward(scaler.scale(loss if hook is None else hook.loss(model, loss)))
            if hook is not None:
                scaler.unscale_(cast(torch.optim.Optimizer, optimiser))
                hook.after_backward(model)
            scaler.step(cast(torch.optim.Optimizer, optimiser))
            scaler.update()
            total += loss.detach() * (stop - start)
            if hook is not None:
                hook.after_step(model, last_of_epoch=stop == n)
    model.eval()
    return TrainResult(float(total) / n, n * settings.local_epochs)


class LocalTraining(Protocol):
    """A client's way to train a split model in place; :func:`train` is the plain one."""

    def __call__(
        self,
        model: SplitModel,
        images: Tensor,
        labels: Tensor,
        settings: TrainingSection,
        rng: torch.Generator,
        *,
        precision: str = "fp32",
    ) -> TrainResult:
        """Train and report."""


def batch_bounds(n: int, batch_size: int) -> list[tuple[int, int]]:
    """Start and stop of each batch; a lone last sample joins the batch before it."""
    bounds = [(start, min(start + batch_size, n)) for start in range(0, n, batch_size)]
    if len(bounds) > 1 and bounds[-1][1] - bounds[-1][0] == 1:
        last = bounds.pop()
        bounds[-1] = (bounds[-1][0], last[1])
    return bounds
