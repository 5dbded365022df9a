"""I-BAU: a universal change of pictures that fools the model is found, and the model unlearns it, in turns."""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from defenses.base import REPAIRS, RepairContext
from defenses.kernels.hypergradient import implicit_gradients
from defenses.support.clean_repair import CleanRepair
from defenses.support.fitting import FitOptions, accuracy_percent
from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.fit import batch_bounds, minimise
from fedcrucible_core.learning.models.base import Normalise, SplitModel
from fedcrucible_core.learning.tasks import task_of


@REPAIRS.register("i-bau")
class ImplicitBackdoorUnlearning(CleanRepair):
    """min over weights of max over one change p of all pictures, by an implicit hypergradient.

    In each of ``rounds`` turns:

    1. p starts at 0; ``steps`` steps of gradient descent (``inner_lr``), a batch each, on
       ``penalty`` * ||p||^2 - CE(model(x + p), the model's own class of x).
    2. As many steps of the weights on CE(model(x'), y), where x' is the batch with p added to
       ``portion`` (fraction) of its pictures, at least one.  Their gradient has a second part, for p moves with them:
       ``fixed_point_steps`` of a fixed-point iteration of width ``fixed_point_lr`` on the first batch's inner loss.

    p is in units of normalised pictures (a unit is a standard deviation of the data set's pixels): the learning rates
    are those of code that normalises first.  The model is in eval mode throughout: batch-norm statistics stay.  p has
    no bound but the penalty.
    """

    paper = (("zeng2022ibau", "algorithm 1"),)
    choices = ("i-bau-portion", "clean-set-repairs")
    cost = "rounds x steps x (fixed_point_steps + 4) passes over a batch of clean pictures"
    traps = (
        "the portion of a small batch is one picture, not none",
        "the labels of the inner problem are the model's own answers",
        "its learning rates are meant for normalised pictures: in pixels of [0, 1] p would grow many times faster",
    )
    rounds: int = Field(5, ge=0, description="Turns")
    steps: int = Field(
        50,
        ge=1,
        description="Steps of either kind in a turn, rounded up to whole passes; the code: 5,000 pictures once",
    )
    inner_lr: float = Field(10.0, gt=0.0, description="Learning rate of p")
    penalty: float = Field(0.001, ge=0.0, description="Weight of ||p||^2")
    portion: float = Field(
        0.01, ge=0.0, le=1.0, description="Share (fraction) of each batch that p is added to; 0 = none"
    )
    fixed_point_steps: int = Field(5, ge=1, description="Steps of the fixed-point iteration, K")
    fixed_point_lr: float = Field(0.1, gt=0.0, description="Width of its steps")
    lr: float = Field(1e-3, gt=0.0, description="Learning rate of the weights (Adam)")
    batch_size: int = Field(100, ge=1, description="Pictures per batch")

    def check(self, model: SplitModel, info: DataInfo) -> None:
        """Raise ConfigError where inputs are no pictures: token ids can't be changed by a small step."""
        if not task_of(info).pictured:
            raise ConfigError("repair.name", self.name, f"changes pictures by gradients, {info.name} has none")

    def repair(self, model: SplitModel, context: RepairContext) -> dict[str, float]:
        """Unlearn in place. Facts: the last ``perturbation_norm``, the ``loss``, held-out accuracies in percent."""
        trained, held = self.sets(context, context.rng)
        trained = trained.subset(torch.randperm(len(trained), generator=context.rng))  # batches of all classes
        before = accuracy_percent(model, held)
        norm = loss = 0.0
        changes: list[Tensor] = []
        passes, begun = self._passes(len(trained)), itertools.count()
        first = slice(*batch_bounds(len(trained), self.batch_size)[0])

        def find_change() -> None:
            if next(begun) % passes == 0:
                changes[:] = [self.change(model, trained)]

        if self.rounds:
            losses = minimise(
                model.parameters(), lambda rows: self._loss(model, trained, rows, first, changes[0], context.rng),
                len(trained), FitOptions(self.lr, "adam", batch_size=self.batch_size), context.rng,
                epochs=self.rounds * passes, before_epoch=find_change,
            )  # fmt: skip
            norm, loss = float(changes[0].norm()), losses[-1]
        return {
            "perturbation_norm": norm,
            "loss": loss,
            "held_accuracy_before_percent": before,
            "held_accuracy_after_percent": accuracy_percent(model, held),
        }

    def _passes(self, n: int) -> int:
        """Passes over n pictures in which there are ``steps`` batches."""
        return math.ceil(self.steps / len(batch_bounds(n, self.batch_size)))

    def change(self, model: SplitModel, data: Labeled) -> Tensor:
        """The change p ``[1, C, H, W]`` of normalised pictures that ``steps`` batches find."""
        p = torch.zeros_like(data.inputs[:1])
        for start, stop in batch_bounds(len(data), self.batch_size) * self._passes(len(data)):
            p.requires_grad_()
            gradient = torch.autograd.grad(self._inner(model, data.inputs[start:stop], p), p)[0]
            p = (p - self.inner_lr * gradient).detach()
        return p

    def _inner(self, model: SplitModel, x: Tensor, p: Tensor) -> Tensor:
        """``penalty`` ||p||^2 - CE of the changed pictures under the model's own answers to ``x``."""
        with torch.no_grad():
            own = model(x).argmax(1)
        return self.penalty * p.square().sum() - F.cross_entropy(model(x + pixels(model, p)), own)

    def _loss(
        self, model: SplitModel, data: Labeled, rows: Tensor, first: slice, change: Tensor, rng: torch.Generator
    ) -> Tensor:
        """The outer loss, with a term of value 0 whose gradient is the implicit part."""
        weights = [w for w in model.parameters() if w.requires_grad]
        p = change.detach().clone().requires_grad_()
        changed = self.with_change(data.inputs[rows], pixels(model, p), rng)
        outer = F.cross_entropy(model(changed), data.labels[rows])
        if self.portion == 0.0:
            return outer
        by_p = torch.autograd.grad(outer, p, retain_graph=True)[0]
        parts = implicit_gradients(
            lambda q: self._inner(model, data.inputs[first], q), p, by_p, weights, self.fixed_point_steps,
            self.fixed_point_lr,
        )  # fmt: skip
        implicit = sum((w * part.detach()).sum() for w, part in zip(weights, parts, strict=True))
        return outer + (implicit - implicit.detach() if isinstance(implicit, Tensor) else 0.0)

    def with_change(self, x: Tensor, p: Tensor, rng: torch.Generator) -> Tensor:
        """The batch ``[n, ...]`` with ``p`` (pixels) added to max(1, floor(portion n)) of it, drawn at random."""
        if self.portion == 0.0:
            return x
        count = max(1, int(self.portion * len(x) + 1e-9))
        chosen = torch.zeros(len(x), dtype=torch.bool)
        chosen[torch.randperm(len(x), generator=rng)[:count]] = True
        return x + chosen.to(x).view(-1, *[1] * (x.ndim - 1)) * p


def pixels(model: SplitModel, p: Tensor) -> Tensor:
    """A change of normalised pictures as one of pixels in [0, 1]: times the standard deviation of each channel."""
    return p * model.first.std if isinstance(model.first, Normalise) else p
