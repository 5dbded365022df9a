"""A model's numbers apart from the model: flat parameters and flat buffers, as they travel, are kept and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fedcrucible_core.learning.vector import flatten_buffers, flatten_parameters, load_buffers, load_parameters


@dataclass(frozen=True)
class Weights:
    """Trainable parameters float32 ``[d]`` and persistent buffers float32 ``[b]`` of one model, on the CPU."""

    parameters: Tensor
    buffers: Tensor

    @classmethod
    def of(cls, model: nn.Module) -> Weights:
        """What a model holds now, as new vectors."""
        return cls(flatten_parameters(model), flatten_buffers(model))

    def load_into(self, model: nn.Module) -> None:
        """Write both vectors into a model, in place. Raises ValueError on a wrong length."""
        load_parameters(model, self.parameters)
        load_buffers(model, self.buffers)

    def equals(self, other: Weights) -> bool:
        """Whether both vectors are the same, bit for bit but for the sign of zero."""
        return self is other or (
            torch.equal(self.parameters, other.parameters) and torch.equal(self.buffers, other.buffers)
        )

    @property
    def nbytes(self) -> int:
        """Bytes of the two vectors."""
        return 4 * (self.parameters.numel() + self.buffers.numel())


@dataclass(frozen=True)
class Trained:
    """What a local training came to."""

    weights: Weights
    loss: float = 0.0
    """Mean loss of its last epoch."""

    @property
    def parameters(self) -> Tensor:
        """Its parameters float32 ``[d]``."""
        return self.weights.parameters

    @property
    def buffers(self) -> Tensor:
        """Its buffers float32 ``[b]``."""
        return self.weights.buffers


@dataclass(frozen=True)
class LocalUpdate:
    """What a client uploads after its local training."""

    weights: Weights
    num_examples: int
    """What it says it has trained on."""
    loss: float
    attacked: bool | None = None
    """In a round of the attack: whether the attack did anything; the server counts by it, and no rule sees it."""


Prototype = str
"""Name of an architecture of which one set of weights is trained."""
SOLE: Prototype = "model"
"""The prototype of a run in which all clients train the same architecture."""
Population = Mapping[Prototype, Weights]
"""Weights by prototype, in the system's order; the first is the one that rates and reports are about."""
