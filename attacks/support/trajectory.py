"""Labels that make a step on clean images end where a step on poisoned images ends (trajectory matching)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, jvp

from fedcrucible_core.learning.fit import batch_bounds
from fedcrucible_core.learning.models.base import SplitModel

Named = dict[str, Tensor]


@dataclass(frozen=True)
class Nesterov:
    """SGD with Nesterov momentum and weight decay, as a function of what it remembers."""

    lr: float
    momentum: float
    weight_decay: float

    def step(self, weights: Named, velocity: Named, gradient: Named) -> tuple[Named, Named]:
        """g = gradient + wd w;  v' = mu v + g;  w' = w - lr (g + mu v'): new weights and velocity."""
        moved, faster = {}, {}
        for name, w in weights.items():
            g = gradient[name] + self.weight_decay * w
            faster[name] = self.momentum * velocity[name] + g
            moved[name] = w - self.lr * (g + self.momentum * faster[name])
        return moved, faster

    @property
    def per_gradient(self) -> float:
        """How far weights move along one gradient: d w' / d gradient = -lr (1 + mu)."""
        return self.lr * (1.0 + self.momentum)


@dataclass(frozen=True)
class Checkpoint:
    """Where an expert stood: weights, velocity, buffers."""

    weights: Named
    velocity: Named
    buffers: Named


@dataclass(frozen=True)
class Expert:
    """A model, how it is trained, and on which poisoned set."""

    model: SplitModel
    rule: Nesterov
    batch_size: int

    def log_probabilities(self, weights: Named, buffers: Named, x: Tensor) -> Tensor:
        """Of every class, in training mode: batch norm takes the batch's own statistics and ``buffers`` stay."""
        kept = {name: tensor.clone() for name, tensor in buffers.items()}
        self.model.train()
        return F.log_softmax(functional_call(self.model, {**weights, **kept}, (x,)), dim=1)

    def gradient(self, at: Checkpoint, x: Tensor, q: Tensor) -> Named:
        """Of the mean cross-entropy with label distributions ``q [n, C]``."""
        weights = {name: tensor.detach().clone().requires_grad_() for name, tensor in at.weights.items()}
        loss = -(q * self.log_probabilities(weights, at.buffers, x)).sum(1).mean()
        found = torch.autograd.grad(loss, list(weights.values()))
        return dict(zip(weights, found, strict=True))

    def checkpoints(
        self, x: Callable[[Tensor], Tensor], y: Tensor, epochs: int, every: int, most: int, rng: torch.Generator
    ) -> list[Checkpoint]:
        """Train the model in place on inputs ``x(rows)`` and labels ``y``; where it stood every so many steps, from the
        start on, at most ``most``."""
        weights: Named = dict(self.model.named_parameters())
        velocity = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
        kept: list[Checkpoint] = []
        steps = 0
        self.model.train()
        for _ in range(epochs):
            order = torch.randperm(len(y), generator=rng)
            for start, stop in batch_bounds(len(y), self.batch_size):
                if steps % every == 0 and len(kept) < most:
                    kept.append(_copied(weights, velocity, dict(self.model.named_buffers())))
                steps += 1
                rows = order[start:stop]
                loss = F.cross_entropy(self.model(x(rows)), y[rows])
                found = dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))
                with torch.no_grad():
                    moved, velocity = self.rule.step(weights, velocity, found)
                    for name, tensor in weights.items():
                        tensor.copy_(moved[name])
        self.model.eval()
        return kept or [_copied(weights, velocity, dict(self.model.named_buffers()))]


def _copied(weights: Named, velocity: Named, buffers: Named) -> Checkpoint:
    return Checkpoint(
        *({name: t.detach().clone() for name, t in part.items()} for part in (weights, velocity, buffers))
    )


def mismatch(
    expert: Expert, at: Checkpoint, poisoned: tuple[Tensor, Tensor], clean: Tensor, q: Tensor
) -> tuple[float, Tensor]:
    """||student - expert||^2 / ||start - expert||^2 after one step each from a checkpoint, and its gradient by ``q``.

    The expert steps on ``poisoned``: inputs ``[n, ...]`` and labels int64 ``[n]``; the student on the same images clean
    with label distributions ``q [n, C]``.  The student's weights are linear in q, so

        d loss / d q_ic = lr (1 + mu) / n * 2 / den * <student - expert, grad log p_c(x_i)>,

    one derivative of log p in the direction student - expert: a forward pass instead of a second backward one.
    """
    x, y = poisoned
    classes = q.shape[1]
    hard = F.one_hot(y, classes).to(q.dtype)
    wanted, _ = expert.rule.step(at.weights, at.velocity, expert.gradient(at, x, hard))
    reached, _ = expert.rule.step(at.weights, at.velocity, expert.gradient(at, clean, q))
    away = {name: reached[name] - wanted[name] for name in wanted}
    moved = sum(float((at.weights[name] - wanted[name]).pow(2).sum()) for name in wanted)
    den = max(moved, 1e-12)
    loss = sum(float(part.pow(2).sum()) for part in away.values()) / den

    def answers(weights: Named) -> Tensor:
        return expert.log_probabilities(weights, at.buffers, clean)

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own use of torch.jit
        slope: Tensor = jvp(answers, (at.weights,), (away,))[1]
    return loss, slope * (expert.rule.per_gradient / len(clean) * 2.0 / den)
