"""A model's batch-norm layers: which they are, and silencing their channels."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.fit import BATCH_NORM

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


def batch_norms(model: nn.Module) -> dict[str, BatchNorm]:
    """The layers with scale and shift, by name, in the order in which the model holds them."""
    return {name: module for name, module in model.named_modules() if isinstance(module, BATCH_NORM) and module.affine}


def require_batch_norms(model: nn.Module, repair: str) -> dict[str, BatchNorm]:
    """The same. Raises ConfigError where there is none."""
    found = batch_norms(model)
    if not found:
        raise ConfigError(
            "repair.name", repair, "works on the channels of batch-norm layers, and the model has none; allowed: "
            "a model with batch norm (resnet8 with norm=batch, resnet18, preact-resnet18, vgg16, mobilenet-v2)"
        )  # fmt: skip
    return found


@torch.no_grad()
def zero_channels(layers: Mapping[str, BatchNorm], channels: Mapping[str, Tensor], *, shift: bool) -> int:
    """Zero the scale of the named layers' channels (int64 each), and with ``shift`` their shift; says how many."""
    for name, rows in channels.items():
        layers[name].weight[rows] = 0.0
        if shift:
            layers[name].bias[rows] = 0.0
    return sum(len(rows) for rows in channels.values())
