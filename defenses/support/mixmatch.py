"""MixMatch at work: epochs in which a few samples keep their labels and the others lose them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from defenses.kernels.semi_supervised import blended, mixing_weight, mixmatch_loss, sharpened
from defenses.support.fitting import FitOptions, without
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.fit import minimise, training_mode
from fedcrucible_core.learning.models.base import SplitModel


@dataclass(frozen=True)
class MixMatch:
    """Settings (berthelot2019mixmatch, section 4, as SCLBD/DBD and ASD take them)."""

    iterations: int
    """Steps of an epoch; their code: 1,024."""
    batch_size: int = 64
    """Labelled samples of a step, and as many without a label in two views each."""
    lr: float = 2e-3
    """Of Adam."""
    temperature: float = 0.5
    alpha: float = 0.75
    unlabelled_weight: float = 15.0
    """What the weight of the second term grows to, linearly over all steps."""

    def fit(
        self,
        model: SplitModel,
        data: Labeled,
        pool: Callable[[int], Tensor],
        rng: torch.Generator,
        *,
        epochs: int,
        view: Callable[[Tensor], Tensor],
    ) -> list[float]:
        """Train all of ``model`` in place; mean loss of every epoch. It ends in eval mode.

        Args:
            model: classifier on the device of ``data``.
            data: all samples, labels as given.
            pool: maps an epoch (0, 1, ...) to the rows int64 on the CPU that keep their labels; may use the model.
            rng: draws everything.
            epochs: how many; 0 = nothing happens.
            view: one random view of a batch.
        """
        epoch_rows = _Pools(pool, len(data), data.inputs.device)
        taken = 0

        def loss(rows: Tensor) -> Tensor:
            nonlocal taken
            taken += 1
            weight = self.unlabelled_weight * taken / (epochs * self.iterations)
            return self.loss(
                model, data, epoch_rows.labelled_of(rows), epoch_rows.draw(len(rows), rng), weight, rng, view
            )

        return minimise(
            model.parameters(), loss, self.iterations * self.batch_size,
            FitOptions(self.lr, "adam", batch_size=self.batch_size), rng, epochs=epochs,
            mode=partial(training_mode, model), before_epoch=epoch_rows.begin,
        )  # fmt: skip

    def loss(
        self,
        model: SplitModel,
        data: Labeled,
        labelled: Tensor,
        unlabelled: Tensor,
        weight: float,
        rng: torch.Generator,
        view: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """The loss of one step on the samples of two lists of rows, ``weight`` that of the second term."""
        classes = model.head.out_features
        inputs = [view(data.inputs[labelled])]
        targets = [F.one_hot(data.labels[labelled], classes).to(inputs[0])]
        if len(unlabelled):
            views = [view(data.inputs[unlabelled]) for _ in range(2)]
            with torch.no_grad():
                guess = sharpened(torch.stack([model(x).softmax(1) for x in views]).mean(0), self.temperature)
            inputs += views
            targets += [guess, guess]
        x, y = torch.cat(inputs), torch.cat(targets)
        order = torch.randperm(len(x), generator=rng).to(x.device)
        share = mixing_weight(self.alpha, rng)
        return mixmatch_loss(model(blended(x, order, share)), blended(y, order, share), len(labelled), weight)


class _Pools:
    """The labelled rows of the epoch that runs, and the others."""

    def __init__(self, pool: Callable[[int], Tensor], n: int, device: torch.device) -> None:
        self.pool, self.n, self.device, self.epoch = pool, n, device, 0
        self.labelled = self.others = torch.zeros(0, dtype=torch.int64)

    def begin(self) -> None:
        labelled = self.pool(self.epoch)
        if not len(labelled):
            raise ValueError("no sample keeps its label: there is nothing to learn from")
        self.labelled, self.others = labelled.to(self.device), without(labelled, self.n).to(self.device)
        self.epoch += 1

    def labelled_of(self, numbers: Tensor) -> Tensor:
        """Labelled rows by numbers of a shuffled epoch: each comes up equally often."""
        return self.labelled[numbers % len(self.labelled)]

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """``count`` of the other rows, with replacement; none where there are none."""
        if not len(self.others):
            return self.others
        return self.others[torch.randint(len(self.others), (count,), generator=rng).to(self.device)]
