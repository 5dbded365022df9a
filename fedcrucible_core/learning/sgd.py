"""Plain SGD, step for step what ``torch.optim.SGD`` computes, without its import of torch's compiler.

The first use of any ``torch.optim`` class imports ``torch._dynamo``, which takes longer than many a client's training;
in a deployment every message is a process of its own and would pay it again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class SGD:
    """SGD with momentum (no dampening) and L2 weight decay; has what ``torch.amp.GradScaler`` asks of an optimiser."""

    def __init__(self, parameters: Iterable[Tensor], lr: float, momentum: float, weight_decay: float) -> None:
        self.parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self.param_groups: list[dict[str, Any]] = [{"params": self.parameters}]
        self.lr = lr
        self.momentum = momentum
        self.weight_decay = weight_decay
        self._velocity: dict[int, Tensor] = {}

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """v = momentum * v + (g + weight_decay * w), starting from v = g;  w = w - lr * v."""
        chosen = [p for p in self.parameters if p.grad is not None]
        moves = [p.grad for p in chosen if p.grad is not None]
        if not chosen:
            return
        if self.weight_decay:
            moves = list(torch._foreach_add(moves, chosen, alpha=self.weight_decay))
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
