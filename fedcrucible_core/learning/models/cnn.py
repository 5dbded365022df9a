"""A small convolutional network."""

from __future__ import annotations

from pydantic import Field
from torch import nn

from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.models.base import MODELS, ModelSpec, SplitModel


@MODELS.register("cnn")
class SmallCNN(ModelSpec):
    """Two 5x5 convolutions with max-pooling and one hidden layer; no normalisation layers, hence no buffers."""

    paper = ("mcmahan2017", "section 3, smaller")
    smallest = 4
    width: int = Field(16, ge=1, le=512, description="Channels of the first convolution; the second has twice as many")
    hidden: int = Field(128, ge=1, le=4096, description="Units of the hidden layer = feature dimension")

    def make(self, info: DataInfo) -> SplitModel:
        """Build for a data set; spatial size is pooled to 4x4 before the hidden layer."""
        channels, w = info.shape[0], self.width
        features = nn.Sequential(
            nn.Conv2d(channels, w, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(w, 2 * w, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(2 * w * 16, self.hidden),
            nn.ReLU(inplace=True),
        )
        return SplitModel(features, self.hidden, info)
