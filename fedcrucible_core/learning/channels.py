"""Channels of a model's last hidden layer: which layer that is, how active they are, silencing them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.evaluation import predict
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.tasks import task_of

Activation = Literal["relu", "abs"]
_NORMS = (nn.BatchNorm2d, nn.GroupNorm, nn.InstanceNorm2d)


@dataclass(frozen=True)
class LastConvolution:
    """The last convolution of a feature extractor with the normalisation it feeds, by their names in the model."""

    convolution: str
    norm: str
    """Empty = none."""
    channels: int

    @property
    def module(self) -> str:
        """The module whose output the channels are."""
        return self.norm or self.convolution

    @property
    def received(self) -> bool:
        """Whether the channels are what ``module`` receives rather than what it gives."""
        return False


@dataclass(frozen=True)
class LastUnits:
    """The units that a model's output layer reads: the last hidden layer, whatever makes it."""

    module: str
    """The output layer, a linear one."""
    channels: int

    @property
    def received(self) -> bool:
        """They are what ``module`` receives."""
        return True


LastHidden = LastConvolution | LastUnits


def last_hidden(model: SplitModel, info: DataInfo) -> LastHidden:
    """Where channels are silenced: the last convolution of models of pictures, else the output layer's own inputs.

    Raises ValueError when a model of pictures has no convolution whose channels could be silenced.
    """
    if task_of(info).pictured:
        return last_convolution(model, info.image_shape)
    return LastUnits(model.output, model.head.in_features)


def last_convolution(model: SplitModel, shape: tuple[int, int, int]) -> LastConvolution:
    """Find the last convolution by running one black image of ``shape`` (C, H, W).

    Convolutions that look at one pixel only (1 x 1) are shortcuts or mixers of channels; they count only where there is
    no other.  Of the rest, the last one that runs; its normalisation is the module that receives that output tensor.

    Raises ValueError when the model has no convolution, or one whose normalisation has no scale and shift.
    """
    ran: list[tuple[str, nn.Conv2d, Tensor]] = []
    norms: list[tuple[str, Tensor]] = []
    hooks = []
    names = {module: name for name, module in model.named_modules()}

    def note(module: nn.Module, seen: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            ran.append((names[module], module, output))
        else:
            norms.append((names[module], seen[0]))

    for module in names:
        if isinstance(module, (nn.Conv2d, *_NORMS)):
            hooks.append(module.register_forward_hook(note))
    try:
        model.eval()
        with torch.no_grad():
            model(torch.zeros(1, *shape, device=next(model.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
    wide = [found for found in ran if max(found[1].kernel_size) > 1] or ran
    if not wide:
        raise ValueError("the model has no convolution")
    name, convolution, output = wide[-1]
    norm = next((found for found, seen in norms if seen is output), "")
    if norm and model.get_submodule(norm).bias is None:
        raise ValueError(f"{norm} has no scale and shift: its channels can't be silenced")
    return LastConvolution(name, norm, convolution.out_channels)


def mean_activations(
    model: SplitModel,
    module: str,
    inputs: Tensor,
    batch_size: int,
    device: torch.device,
    kind: Activation,
    *,
    received: bool = False,
) -> Tensor:
    """Mean activation float64 ``[channels]`` of what ``module`` gives over ``inputs`` and, in pictures, positions.

    ``relu`` averages the positive part, ``abs`` the absolute value.  With ``received`` it is that of what the module
    receives.
    """
    sums: list[Tensor] = []

    def add(_module: nn.Module, seen: tuple[Tensor, ...], out: Tensor) -> None:
        values = seen[0] if received else out
        values = (values.abs() if kind == "abs" else values.clamp(min=0.0)).double()
        sums.append((values.mean((2, 3)) if values.ndim == 4 else values).sum(0).cpu())

    hook = model.get_submodule(module).register_forward_hook(add)
    try:
        predict(model, inputs, batch_size, device)
    finally:
        hook.remove()
    return torch.stack(sums).sum(0) / len(inputs)


@torch.no_grad()
def silence(model: SplitModel, place: LastHidden, channels: Sequence[int]) -> None:
    """Make channels of the last hidden layer count for nothing, in place.

    Of a convolution they output exactly zero.  After a normalisation its scale and shift are zeroed, for the shift
    would leak through zeroed weights; a convolution in front of a batch norm or of none is zeroed as well.  In front of
    a group norm it is left, because its outputs are part of the statistics of other channels.  Units that the output
    layer reads lose their weights there, which is the same to every logit.
    """
    chosen = list(channels)
    if isinstance(place, LastUnits):
        model.head.weight[:, chosen] = 0.0
        return
    convolution = model.get_submodule(place.convolution)
    assert isinstance(convolution, nn.Conv2d)
    if place.norm:
        norm = model.get_submodule(place.norm)
        assert isinstance(norm, _NORMS)
        norm.weight[chosen] = 0.0
        norm.bias[chosen] = 0.0
        if not isinstance(norm, nn.BatchNorm2d):
            return
    convolution.weight[chosen] = 0.0
    if convolution.bias is not None:
        convolution.bias[chosen] = 0.0


@torch.no_grad()
def drop_extreme_weights(model: SplitModel, place: LastHidden, deviations: float) -> int:
    """Zero weights outside mean +- ``deviations`` * standard deviation, in place; says how many.

    They are the last convolution's, or those by which the output layer reads its units.  Mean and deviation are those
    of the channels that aren't silent.
    """
    weight, by_channel = _weights(model, place)
    alive = by_channel[by_channel.flatten(1).abs().amax(1) > 0].double()
    if not alive.numel():
        return 0
    extreme = (weight.double() - alive.mean()).abs() > deviations * alive.std(correction=0)
    extreme &= weight != 0
    weight[extreme] = 0.0
    return int(extreme.sum())


def _weights(model: SplitModel, place: LastHidden) -> tuple[Tensor, Tensor]:
    """The weights that the channels are made or read by, and a view of them with the channels first."""
    if isinstance(place, LastUnits):
        return model.head.weight, model.head.weight.T
    convolution = model.get_submodule(place.convolution)
    assert isinstance(convolution, nn.Conv2d)
    return convolution.weight, convolution.weight
