"""A model's numbers apart from the model: flat parameters and flat buffers, as they travel, are kept and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from fedcrucible_core.learning.bounds import bounds_of, set_bounds
from fedcrucible_core.learning.vector import flatten_buffers, flatten_parameters, load_buffers, load_parameters


@dataclass(frozen=True)
class Weights:
    """Trainable parameters float32 ``[d]`` and persistent buffers float32 ``[b]`` of one model, on the CPU."""

    parameters: Tensor
    buffers: Tensor
    bounds: Mapping[str, Tensor] = field(default_factory=dict)
    """Upper bounds float32 ``[C]`` on activations by module, where a defence has put some on the model."""

    @classmethod
    def of(cls, model: nn.Module) -> Weights:
        """What a model holds now, as new vectors."""
        return cls(flatten_parameters(model), flatten_buffers(model), bounds_of(model))

    def load_into(self, model: nn.Module) -> None:
        """Make a model hold these, in place. Raises ValueError on a wrong length."""
        load_parameters(model, self.parameters)
        load_buffers(model, self.buffers)
        set_bounds(model, self.bounds)

    def unbounded(self) -> Weights:
        """The same without bounds: what is trained on."""
        return replace(self, bounds={}) if self.bounds else self

    def equals(self, other: Weights) -> bool:
        """Whether all is the same, bit for bit but for the sign of zero."""
        return self is other or (
            torch.equal(self.parameters, other.parameters)
            and torch.equal(self.buffers, other.buffers)
            and self.bounds.keys() == other.bounds.keys()
            and all(torch.equal(values, other.bounds[name]) for name, values in self.bounds.items())
        )

    @property
    def finite(self) -> bool:
        """Whether every parameter and buffer is a finite number."""
        return bool(torch.isfinite(self.parameters).all()) and bool(torch.isfinite(self.buffers).all())

    @property
    def nbytes(self) -> int:
        """Bytes of all that is in them."""
        return 4 * sum(vector.numel() for vector in (self.parameters, self.buffers, *self.bounds.values()))


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
    sanitized: Mapping[str, float] = field(default_factory=dict)
    """What an honest client's sanitizer did to its data, for the record; empty without one."""


Prototype = str
"""Name of an architecture of which one set of weights is trained."""
SOLE: Prototype = "model"
"""The prototype of a run in which all clients train the same architecture."""
Population = Mapping[Prototype, Weights]
"""Weights by prototype, in the system's order; the first is the one that rates and reports are about."""
