"""The numbers of a model as a value: what is sent, aggregated, kept and loaded."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fedcrucible_core.learning.vector import flatten_buffers, flatten_parameters, load_buffers, load_parameters


@dataclass(frozen=True)
class Weights:
    """A model's numbers: flat float32 parameters ``[d]`` and buffers ``[b]`` (possibly none), on the CPU."""

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
