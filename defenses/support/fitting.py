"""What repairs share that train a model on labelled samples: how a fit is told, the fit itself, what is held out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.evaluation import NO_CLASS, classes_of, logits
from fedcrucible_core.learning.fit import FitHook, minimise, training_mode
from fedcrucible_core.learning.optimisers import OptimiserName
from fedcrucible_core.learning.tasks.vision import crop_flip

FORWARD_BATCH = 500
"""Samples per forward pass without gradient."""
Augment = Literal["none", "crop-flip"]


@dataclass(frozen=True)
class FitOptions:
    """Batch size and optimiser of one fit."""

    lr: float
    optimiser: OptimiserName = "sgd"
    momentum: float = 0.9
    weight_decay: float = 0.0
    batch_size: int = 64
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8


def fit(
    model: nn.Module,
    data: Labeled,
    options: FitOptions,
    rng: torch.Generator,
    *,
    epochs: int,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    view: Callable[[Tensor], Tensor] | None = None,
    schedule: Callable[[int], float] | None = None,
    hook: FitHook | None = None,
) -> list[float]:
    """Train all of ``model`` in place, in training mode; mean loss of every epoch. It ends in eval mode.

    A single sample has no batch statistics: it is trained on in eval mode.

    Args:
        model: classifier on the device of ``data``.
        data: inputs as the model takes them.
        options: batch size, optimiser.
        rng: draws the order.
        epochs: passes; 0 = nothing happens.
        loss: maps logits ``[b, C]`` and labels ``[b]`` to a scalar.
        view: what becomes of a batch's inputs (augmentation).
        schedule: factor on the learning rate by epoch.
        hook: acts inside the loop.
    """

    def batch_loss(rows: Tensor) -> Tensor:
        x = data.inputs[rows]
        return loss(model(x if view is None else view(x)), data.labels[rows])

    model.eval()
    mode = partial(training_mode, model) if len(data) > 1 else contextlib.nullcontext
    return minimise(
        model.parameters(), batch_loss, len(data), options, rng, epochs=epochs, mode=mode, schedule=schedule, hook=hook
    )


def view_of(augment: Augment, rng: torch.Generator) -> Callable[[Tensor], Tensor] | None:
    """What the run's augmentation makes of a batch of pictures; None = it stays."""
    return partial(crop_flip, rng=rng) if augment == "crop-flip" else None


def accuracy_percent(model: nn.Module, data: Labeled) -> float:
    """Accuracy in percent, in eval mode; a row whose logits aren't finite is wrong; 0 of no samples."""
    if not len(data):
        return 0.0
    found = classes_of(logits(model, data.inputs, FORWARD_BATCH, data.inputs.device))
    right = (found == data.labels) & (found != NO_CLASS)
    return 100.0 * float(right.double().mean())


def held_out(data: Labeled, share: float, rng: torch.Generator) -> tuple[Labeled, Labeled]:
    """Data for training and data for choices: of each class floor(share * its samples + 1/2) are held out.

    A class of one sample keeps it for training.  Where nothing would be held out, the same samples serve both.
    """
    order = torch.randperm(len(data), generator=rng)
    labels = data.labels.cpu()[order]
    held = torch.zeros(len(data), dtype=torch.bool)
    for label in torch.unique(labels).tolist():
        rows = (labels == label).nonzero().flatten()
        held[rows[: min(int(share * len(rows) + 0.5), len(rows) - 1)]] = True
    if not bool(held.any()):
        return data, data
    return data.subset(order[~held].sort().values), data.subset(order[held].sort().values)


def sample_losses(model: nn.Module, data: Labeled, loss: Callable[[Tensor, Tensor], Tensor] | None = None) -> Tensor:
    """Loss float32 ``[n]`` of each sample in eval mode, on the CPU; cross-entropy unless ``loss`` gives others.

    What isn't finite counts as infinite.
    """
    scores = logits(model, data.inputs, FORWARD_BATCH, data.inputs.device)
    values = F.cross_entropy(scores, data.labels, reduction="none") if loss is None else loss(scores, data.labels)
    return values.cpu().nan_to_num(nan=torch.inf)


def lowest(values: Tensor, count: int) -> Tensor:
    """Row numbers int64 of the ``count`` lowest of ``[n]``; equal ones go in order of their number."""
    return values.argsort(stable=True)[:count].sort().values


def without(rows: Tensor, n: int) -> Tensor:
    """The row numbers 0 .. n-1 that aren't among ``rows``, ascending."""
    mask = torch.ones(n, dtype=torch.bool)
    mask[rows] = False
    return mask.nonzero().flatten()
