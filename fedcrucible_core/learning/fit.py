"""The one fitting loop: batches of shuffled rows, a loss of theirs, a step of an optimiser."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Literal, Protocol, cast

import torch
from torch import Tensor, nn

from fedcrucible_core.learning.device import autocast
from fedcrucible_core.learning.optimisers import OptimiserSettings, make_optimiser
from fedcrucible_core.learning.rng import global_chance

BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class FitSettings(OptimiserSettings, Protocol):
    """What a fit is told beside its length: batch size and optimiser."""

    @property
    def batch_size(self) -> int:
        """Samples per batch."""


class FitHook:
    """What happens inside the loop besides the step; each method does nothing unless overridden."""

    def loss(self, loss: Tensor) -> Tensor:
        """The objective to differentiate, from the batch's loss."""
        return loss

    def after_backward(self) -> None:
        """Change the gradients (unscaled in every precision) before the optimiser uses them."""

    def after_step(self, *, last_of_epoch: bool) -> None:
        """Change the parameters after the optimiser's step."""


def minimise(
    parameters: Iterable[Tensor],
    loss: Callable[[Tensor], Tensor | None],
    n: int,
    settings: FitSettings,
    rng: torch.Generator,
    *,
    epochs: int = 1,
    mode: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
    precision: str = "fp32",
    clip: float = 0.0,
    hook: FitHook | None = None,
    before_epoch: Callable[[], None] | None = None,
    schedule: Callable[[int], float] | None = None,
) -> list[float]:
    """Minimise a mean loss over ``n`` samples by shuffled batches, with an optimiser that remembers nothing yet.

    A last batch of a single sample is joined to the one before it, because batch normalisation can't train on one.

    Args:
        parameters: what is trained, in place; those that require no gradient are left out. No other tensor
            gets a gradient.
        loss: maps row numbers int64 ``[b]`` (on the parameters' device) to the mean loss of these samples; None = there
            is nothing to learn from them: no step, no decay, and they count as 0 in the mean loss.
        n: number of samples.
        settings: batch size, optimiser, its learning rate and the rest.
        rng: CPU generator; draws one permutation of the rows per epoch.  ``loss`` may draw from it too.  What layers
            draw by themselves (dropout) follows from its state at the start.
        epochs: passes over the samples.
        mode: context in which every epoch's batches run, e.g. the model's training mode.
        precision: fp32, bf16 or fp16 (with a scaled loss).
        clip: largest norm of the gradient; 0 = not clipped.
        hook: acts inside the loop; the loss that is returned stays that of ``loss``, whatever a hook adds to it.
        before_epoch: runs at the start of every epoch, outside of ``mode``.
        schedule: factor on the learning rate in an epoch (0, 1, ...); None = 1 in all.

    Returns:
        The mean loss of every epoch, each batch's taken before its step.

    Raises:
        ValueError: no samples, or nothing to train.
    """
    chosen = [parameter for parameter in parameters if parameter.requires_grad]
    if not chosen:
        raise ValueError("nothing to train: no parameter requires a gradient")
    if n == 0:
        raise ValueError("nothing to train on: there are no samples")
    device = chosen[0].device
    optimiser = make_optimiser(chosen, settings)
    scaled = cast(torch.optim.Optimizer, optimiser)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
    bounds = batch_bounds(n, settings.batch_size)
    losses = []
    with global_chance(rng, device):
        for epoch in range(epochs):
            if schedule is not None:
                optimiser.lr = settings.lr * schedule(epoch)
            if before_epoch is not None:
                before_epoch()
            order = torch.randperm(n, generator=rng).to(device)
            total = torch.zeros((), device=device)
            with mode():
                for start, stop in bounds:
                    optimiser.zero_grad()
                    with autocast(device, precision):
                        value = loss(order[start:stop])
                    if value is None:
                        continue
                    objective = value if hook is None else hook.loss(value)
                    torch.autograd.backward(scaler.scale(objective), inputs=chosen)
                    if hook is not None or clip > 0.0:
                        scaler.unscale_(scaled)
                    if clip > 0.0:
                        nn.utils.clip_grad_norm_(chosen, clip)
                    if hook is not None:
                        hook.after_backward()
                    scaler.step(scaled)
                    scaler.update()
                    total += value.detach() * (stop - start)
                    if hook is not None:
                        hook.after_step(last_of_epoch=stop == n)
            losses.append(total)
    optimiser.zero_grad()
    return [float(total) / n for total in losses]


def batch_bounds(n: int, batch_size: int) -> list[tuple[int, int]]:
    """Start and stop of each batch; a lone last sample joins the batch before it."""
    bounds = [(start, min(start + batch_size, n)) for start in range(0, n, batch_size)]
    if len(bounds) > 1 and bounds[-1][1] - bounds[-1][0] == 1:
        last = bounds.pop()
        bounds[-1] = (bounds[-1][0], last[1])
    return bounds


@contextlib.contextmanager
def training_mode(model: nn.Module) -> Iterator[None]:
    """The whole model in training mode inside, in eval mode afterwards."""
    model.train()
    try:
        yield
    finally:
        model.eval()


@contextlib.contextmanager
def batch_norm_mode(model: nn.Module, mode: Literal["eval", "train"]) -> Iterator[None]:
    """Eval mode for the whole model; with ``mode = "train"`` its batch-norm layers are in training mode inside."""
    model.eval()
    if mode == "train":
        for module in model.modules():
            if isinstance(module, BATCH_NORM):
                module.train()
    try:
        yield
    finally:
        model.eval()
