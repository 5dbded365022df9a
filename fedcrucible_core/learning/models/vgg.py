"""VGG-16 for small pictures."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import nn

from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.models.base import MODELS, ModelSpec, SplitModel

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and number of convolutions of each stage; a max-pooling ends it."""


@MODELS.register("vgg16")
class VGG16(ModelSpec):
    """Thirteen 3x3 convolutions with batch norm and one output layer; 512 features, 14.7 million parameters.

    The paper's two hidden layers of 4,096 units are left out, as public code does for 32 x 32 pixels.  Poolings round
    up: 28 x 28 pixels, too, end as one.
    """

    paper = ("simonyan2015vgg", "configuration D, with batch norm and one linear layer")
    norm: Literal["batch", "none"] = Field("batch", description="Normalisation layers")

    def make(self, info: DataInfo) -> SplitModel:
        """Build for a data set, randomly initialised."""
        layers: list[nn.Module] = []
        before = info.shape[0]
        for channels, count in STAGES:
            for _ in range(count):
                layers.append(nn.Conv2d(before, channels, 3, padding=1))
                layers += [nn.BatchNorm2d(channels)] if self.norm == "batch" else []
                layers.append(nn.ReLU(inplace=True))
                before = channels
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        return SplitModel(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), before, info)
