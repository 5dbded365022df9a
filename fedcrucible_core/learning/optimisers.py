"""SGD, Adam and AdamW, step for step what ``torch.optim`` computes, without its import of torch's compiler.

The first use of any ``torch.optim`` class imports ``torch._dynamo``, which takes longer than many a client's training;
in a deployment every message is a process of its own and would pay it again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

OptimiserName = Literal["sgd", "adam", "adamw"]


class OptimiserSettings(Protocol):
    """What chooses an optimiser: the fields of ``[training]``, and of a purifier that trains."""

    @property
    def optimiser(self) -> OptimiserName:
        """Its name."""

    @property
    def lr(self) -> float:
        """Learning rate, above 0."""

    @property
    def momentum(self) -> float:
        """Momentum of SGD, in [0, 1)."""

    @property
    def weight_decay(self) -> float:
        """Weight decay: part of the gradient (sgd, adam) or apart from it (adamw)."""

    @property
    def beta1(self) -> float:
        """Decay of Adam's mean gradient, in [0, 1)."""

    @property
    def beta2(self) -> float:
        """Decay of Adam's mean squared gradient, in [0, 1)."""

    @property
    def epsilon(self) -> float:
        """What Adam adds to the root of the mean square, above 0."""


class Optimiser(ABC):
    """Moves parameters by their gradients; has what ``torch.amp.GradScaler`` asks of an optimiser."""

    def __init__(self, parameters: Iterable[Tensor], lr: float, weight_decay: float) -> None:
        self.parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self.param_groups: list[dict[str, Any]] = [{"params": self.parameters}]
        self.lr = lr
        self.weight_decay = weight_decay

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient."""
        chosen = [p for p in self.parameters if p.grad is not None]
        if chosen:
            self.move(chosen, [p.grad for p in chosen if p.grad is not None])

    @abstractmethod
    def move(self, chosen: list[Tensor], gradients: list[Tensor]) -> None:
        """Move ``chosen`` parameters, in place, by their ``gradients``, which stay as they are."""

    def _with_decay(self, chosen: list[Tensor], gradients: list[Tensor]) -> list[Tensor]:
        """g + weight_decay * w."""
        if not self.weight_decay:
            return gradients
        return list(torch._foreach_add(gradients, chosen, alpha=self.weight_decay))


class SGD(Optimiser):
    """SGD with momentum (no dampening) and L2 weight decay."""

    def __init__(self, parameters: Iterable[Tensor], lr: float, momentum: float, weight_decay: float) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.momentum = momentum
        self._velocity: dict[int, Tensor] = {}

    def move(self, chosen: list[Tensor], gradients: list[Tensor]) -> None:
        """v = momentum * v + (g + weight_decay * w), starting from v = g;  w = w - lr * v."""
        moves = self._with_decay(chosen, gradients)
        if self.momentum:
            moves = self._with_momentum(chosen, moves)
        torch._foreach_add_(chosen, moves, alpha=-self.lr)

    def _with_momentum(self, chosen: list[Tensor], moves: list[Tensor]) -> list[Tensor]:
        for parameter, move in zip(chosen, moves, strict=True):
            velocity = self._velocity.get(id(parameter))
            if velocity is None:
                self._velocity[id(parameter)] = move.clone()
            else:
                velocity.mul_(self.momentum).add_(move)
        return [self._velocity[id(parameter)] for parameter in chosen]


class Adam(Optimiser):
    """Adam with L2 weight decay (Kingma and Ba 2015, algorithm 1)."""

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, betas: tuple[float, float], epsilon: float, weight_decay: float
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.betas = betas
        self.epsilon = epsilon
        self._moments: dict[int, tuple[Tensor, Tensor]] = {}
        self._steps: dict[int, int] = {}

    def move(self, chosen: list[Tensor], gradients: list[Tensor]) -> None:
        """m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  w = w - lr m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps).

        t counts the steps in which a parameter had a gradient; g includes weight_decay * w.
        """
        for parameter, gradient in zip(chosen, self._with_decay(chosen, gradients), strict=True):
            self._move_one(parameter, gradient)

    def _move_one(self, parameter: Tensor, gradient: Tensor) -> None:
        key, (beta1, beta2) = id(parameter), self.betas
        if key not in self._moments:
            self._moments[key] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        mean, square = self._moments[key]
        step = self._steps[key] = self._steps.get(key, 0) + 1
        mean.lerp_(gradient, 1.0 - beta1)
        square.mul_(beta2).addcmul_(gradient, gradient, value=1.0 - beta2)
        root = (square.sqrt() / (1.0 - beta2**step) ** 0.5).add_(self.epsilon)
        parameter.addcdiv_(mean, root, value=-self.lr / (1.0 - beta1**step))


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2)."""

    def _with_decay(self, chosen: list[Tensor], gradients: list[Tensor]) -> list[Tensor]:
        """w = w - lr * weight_decay * w, before the step; the gradients are left alone."""
        if self.weight_decay:
            torch._foreach_mul_(chosen, 1.0 - self.lr * self.weight_decay)
        return gradients


def make_optimiser(parameters: Iterable[Tensor], settings: OptimiserSettings) -> Optimiser:
    """The optimiser that ``settings`` choose, with nothing remembered yet."""
    if settings.optimiser == "sgd":
        return SGD(parameters, settings.lr, settings.momentum, settings.weight_decay)
    kind = Adam if settings.optimiser == "adam" else AdamW
    betas = (settings.beta1, settings.beta2)
    return kind(parameters, settings.lr, betas, settings.epsilon, settings.weight_decay)
