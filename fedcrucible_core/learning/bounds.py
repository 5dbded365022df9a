"""Upper bounds on a model's activations: where ReLU and GELU give their outputs, and keeping those below bounds.

Bounds are part of a model beside its parameters and buffers: they are read from it, put on it and travel with its
:class:`fedcrucible_core.learning.weights.Weights`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

RELU = (F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)
GELU = (F.gelu,)


@dataclass(frozen=True)
class Rectified:
    """A module whose output is that of a ReLU or GELU, or goes through a ReLU at once."""

    module: str
    channels: int


def rectified(model: nn.Module, inputs: Tensor) -> list[Rectified]:
    """Every place where a ReLU or GELU of the model can be bounded, in the order in which they run on ``inputs``.

    Of the modules that hand on the output of an activation (or, for a ReLU, its input: a bound of at least 0 does the
    same there) the first that runs once; an activation in the midst of a module's arithmetic has none and is left out.
    """
    ran: list[tuple[str, State]] = []
    names = {module: name for name, module in model.named_modules()}
    calls = _Activations()

    def note(module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor):
            ran.append((names[module], state_of(output)))

    kept = bounds_of(model)
    set_bounds(model, {})  # a bounded output is another tensor than the activation's
    hooks = [module.register_forward_hook(note) for module in names]
    try:
        model.eval()
        with torch.no_grad(), calls:
            model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
        set_bounds(model, kept)
    times = Counter(name for name, _ in ran)
    found: dict[str, Rectified] = {}
    for states in calls.seen:
        once = [name for name, (tensor, version) in ran if times[name] == 1
                and any(tensor is other and version == then for other, then in states)]  # fmt: skip
        if once and once[0] not in found:
            activations = states[0][0]
            found[once[0]] = Rectified(once[0], activations.shape[channel_axis(activations)])
    return list(found.values())


State = tuple[Tensor, int]
"""A tensor, and how often it had been written to: in-place arithmetic makes another value of the same object."""


def state_of(tensor: Tensor) -> State:
    """A tensor as it stands now."""
    return tensor, tensor._version


class _Activations(TorchFunctionMode):
    """Notes which tensors a bound could be put on for each ReLU and GELU that runs."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[State, ...]] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        before = state_of(args[0]) if func in RELU else None
        result = func(*args, **(kwargs or {}))
        if before is not None:
            self.seen.append((state_of(result), before))
        elif func in GELU:
            self.seen.append((state_of(result),))
        return result


def channel_axis(activations: Tensor) -> int:
    """Axis of the channels: the second of pictures ``[n, C, H, W]``, else the last (``[n, C]``, ``[n, L, C]``)."""
    return 1 if activations.ndim == 4 else activations.ndim - 1


class Bound:
    """A forward hook: min(a, z) for every channel, with z float32 ``[C]`` >= 0."""

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def __call__(self, _module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        """What goes on in place of ``output``."""
        shape = [1] * output.ndim
        shape[channel_axis(output)] = -1
        return torch.minimum(output, self.values.to(output.device, output.dtype).view(shape))


def set_bounds(model: nn.Module, bounds: Mapping[str, Tensor]) -> None:
    """Bound the activations of a model, by module, in place of the bounds that it had; an empty mapping frees it."""
    for _, module, key in list(_hooks(model)):
        del module._forward_hooks[key]
    for name, values in bounds.items():
        model.get_submodule(name).register_forward_hook(Bound(values))


def bounds_of(model: nn.Module) -> dict[str, Tensor]:
    """The bounds of a model by module, float32 ``[C]`` on the CPU, as new tensors; empty where it has none."""
    return {
        name: bound.values.detach().to("cpu", torch.float32, copy=True)
        for name, module, key in _hooks(model)
        if isinstance(bound := module._forward_hooks[key], Bound)
    }


def _hooks(model: nn.Module) -> Iterator[tuple[str, nn.Module, int]]:
    for name, module in model.named_modules():
        for key, hook in module._forward_hooks.items():
            if isinstance(hook, Bound):
                yield name, module, key
