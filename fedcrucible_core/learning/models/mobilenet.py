"""MobileNetV2 for small pictures."""

from __future__ import annotations

from torch import nn

from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.models.base import MODELS, ModelSpec, SplitModel

SETTING = [
    [1, 16, 1, 1],
    [6, 24, 2, 1],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
]
"""Expansion, channels, number of blocks, stride of the first (the paper's table 2, but for the second row's stride)."""
FEATURES = 1280


@MODELS.register("mobilenet-v2")
class MobileNetV2(ModelSpec):
    """torchvision's MobileNetV2, shrinking pictures eightfold and not 32-fold; 1,280 features, 2.2 million parameters.

    The first convolution and the second stage have stride 1, as public code for CIFAR has them.  There is no dropout
    before the output layer.
    """

    paper = ("sandler2018mobilenetv2", "table 2, with two strides less")

    def make(self, info: DataInfo) -> SplitModel:
        """Build for a data set, randomly initialised."""
        from torchvision.models import mobilenet_v2

        net = mobilenet_v2(weights=None, inverted_residual_setting=SETTING)
        stem = net.features[0]
        stem[0] = nn.Conv2d(info.shape[0], stem[0].out_channels, 3, 1, 1, bias=False)
        return SplitModel(nn.Sequential(net.features, nn.AdaptiveAvgPool2d(1), nn.Flatten()), FEATURES, info)
