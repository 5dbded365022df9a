"""A model as one flat float32 vector of trainable parameters plus one of buffers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Slot:
    """Where one named tensor lies in the flat vector."""

    name: str
    start: int
    shape: torch.Size
    is_counter: bool
    """True for integer buffers (num_batches_tracked): copied from the largest, never averaged."""

    @property
    def stop(self) -> int:
        """End (exclusive) of the tensor in the flat vector."""
        return self.start + self.shape.numel()


def _slots(named: list[tuple[str, Tensor]]) -> tuple[Slot, ...]:
    slots, start = [], 0
    for name, tensor in named:
        slots.append(Slot(name, start, tensor.shape, not tensor.is_floating_point()))
        start += tensor.numel()
    return tuple(slots)


def _buffers(model: nn.Module) -> list[tuple[str, Tensor]]:
    saved = model.state_dict().keys()  # leaves out non-persistent buffers such as normalisation constants
    return [(name, buffer) for name, buffer in model.named_buffers() if name in saved]


def parameter_slots(model: nn.Module) -> tuple[Slot, ...]:
    """Layout of the trainable parameters, in the model's own order."""
    return _slots([(n, p) for n, p in model.named_parameters() if p.requires_grad])


def buffer_slots(model: nn.Module) -> tuple[Slot, ...]:
    """Layout of the persistent buffers (batch-norm statistics and counters)."""
    return _slots(_buffers(model))


def flatten_parameters(model: nn.Module) -> Tensor:
    """Trainable parameters as a new float32 CPU vector ``[d]``."""
    return _flatten([p.detach() for p in model.parameters() if p.requires_grad])


def flatten_buffers(model: nn.Module) -> Tensor:
    """Persistent buffers as a new float32 CPU vector ``[b]`` (possibly empty)."""
    return _flatten([buffer for _, buffer in _buffers(model)])


def _flatten(tensors: list[Tensor]) -> Tensor:
    if not tensors:
        return torch.zeros(0)
    return torch.cat([t.reshape(-1).to("cpu", torch.float32) for t in tensors])


def flatten_gradients(model: nn.Module) -> Tensor:
    """Gradients of the trainable parameters as a new float32 CPU vector ``[d]``; zeros where there is none."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    return _flatten([torch.zeros_like(p) if p.grad is None else p.grad for p in trainable])


def shaped_like_parameters(model: nn.Module, vector: Tensor) -> list[Tensor]:
    """The pieces of a flat vector ``[d]``, one shaped like each trainable parameter and on its device, in order."""
    slots, parameters = parameter_slots(model), [p for p in model.parameters() if p.requires_grad]
    return [
        vector[slot.start : slot.stop].view(slot.shape).to(parameter.device)
        for slot, parameter in zip(slots, parameters, strict=True)
    ]


def load_parameters(model: nn.Module, vector: Tensor) -> None:
    """Write a flat vector ``[d]`` into the model, in place. Raises ValueError on a wrong length."""
    _load([(n, p) for n, p in model.named_parameters() if p.requires_grad], vector, "parameters")


def load_buffers(model: nn.Module, vector: Tensor) -> None:
    """Write a flat vector ``[b]`` into the model's persistent buffers, in place."""
    _load(_buffers(model), vector, "buffers")


def _load(named: list[tuple[str, Tensor]], vector: Tensor, what: str) -> None:
    total = sum(t.numel() for _, t in named)
    if vector.shape != (total,):
        raise ValueError(f"{what}: expected a vector of {total} numbers, got shape {tuple(vector.shape)}")
    start = 0
    with torch.no_grad():
        for _, tensor in named:
            part = vector[start : start + tensor.numel()].view(tensor.shape)
            tensor.copy_(part if tensor.is_floating_point() else part.round())
            start += tensor.numel()
