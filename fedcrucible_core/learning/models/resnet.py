"""Residual networks: a small one for two CPU cores, and torchvision's ResNet-18 with the CIFAR stem."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.models.base import MODELS, ModelSpec, SplitModel


def _norm(kind: str, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.GroupNorm(min(8, channels), channels)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (he2016resnet, figure 2)."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = _norm(norm, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = _norm(norm, outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), _norm(norm, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Residual block; input ``[n, inputs, h, w]``, output ``[n, outputs, h/stride, w/stride]``."""
        out = F.relu(self.norm1(self.conv1(x)), inplace=True)
        out = self.norm2(self.conv2(out)) + self.shortcut(x)
        return F.relu(out, inplace=True)


@MODELS.register("resnet8")
class ResNet8(ModelSpec):
    """Three residual stages of one block each, width doubling; a stride-2 stem keeps it fast on a CPU."""

    paper = ("he2016resnet", "reduced")
    width: int = Field(16, ge=4, le=512, description="Channels of the first stage")
    stem_stride: int = Field(2, ge=1, le=2, description="Stride of the first convolution")
    norm: Literal["batch", "group"] = Field("batch", description="Normalisation layers")

    def make(self, info: DataInfo) -> SplitModel:
        """Build for a data set."""
        w = self.width
        features = nn.Sequential(
            nn.Conv2d(info.shape[0], w, 3, self.stem_stride, 1, bias=False),
            _norm(self.norm, w),
            nn.ReLU(inplace=True),
            BasicBlock(w, w, 1, self.norm),
            BasicBlock(w, 2 * w, 2, self.norm),
            BasicBlock(2 * w, 4 * w, 2, self.norm),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        return SplitModel(features, 4 * w, info)


@MODELS.register("resnet18")
class ResNet18(ModelSpec):
    """torchvision's ResNet-18 with the CIFAR stem (3x3, stride 1, no max-pool); 512 features."""

    paper = ("he2016resnet", "with the stem that public code uses on CIFAR")

    def make(self, info: DataInfo) -> SplitModel:
        """Build for a data set, randomly initialised."""
        from torchvision.models import resnet18

        net = resnet18(weights=None)
        net.conv1 = nn.Conv2d(info.shape[0], 64, 3, 1, 1, bias=False)
        net.maxpool = nn.Identity()
        net.fc = nn.Identity()
        return SplitModel(net, 512, info)
