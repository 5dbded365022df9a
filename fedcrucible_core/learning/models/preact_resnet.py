"""ResNet-18 with pre-activation blocks, for small pictures."""

from __future__ import annotations

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.models.base import MODELS, ModelSpec, SplitModel

STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
"""Channels and stride of each stage of two blocks."""


class PreActBlock(nn.Module):
    """Normalise, rectify, convolve, twice; the shortcut is added without anything after it (he2016identity, fig. 1)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.shortcut: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Residual block; input ``[n, inputs, h, w]``, output ``[n, outputs, h/stride, w/stride]``."""
        active = F.relu(self.norm1(x))
        aside = x if self.shortcut is None else self.shortcut(active)
        out: Tensor = self.conv2(F.relu(self.norm2(self.conv1(active)), inplace=True)) + aside
        return out


@MODELS.register("preact-resnet18")
class PreActResNet18(ModelSpec):
    """Pre-activation ResNet-18 with a 3x3 stem of stride 1; 512 features, 11.2 million parameters.

    Public code for CIFAR pools the last block's sum as it is, so features may be negative; the paper's network has one
    more normalisation and ReLU there (``final_norm``).
    """

    paper = ("he2016identity", "with the stem and the last layer that public code uses on CIFAR")
    final_norm: bool = Field(False, description="Batch norm and ReLU after the last block, as the paper has them")

    def make(self, info: DataInfo) -> SplitModel:
        """Build for a data set, randomly initialised."""
        layers: list[nn.Module] = [nn.Conv2d(info.shape[0], STAGES[0][0], 3, 1, 1, bias=False)]
        before = STAGES[0][0]
        for channels, stride in STAGES:
            layers += [PreActBlock(before, channels, stride), PreActBlock(channels, channels, 1)]
            before = channels
        if self.final_norm:
            layers += [nn.BatchNorm2d(before), nn.ReLU(inplace=True)]
        return SplitModel(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), before, info)
