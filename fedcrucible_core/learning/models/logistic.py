"""Multinomial logistic regression on pixels."""

from __future__ import annotations

from torch import nn

from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.models.base import MODELS, ModelSpec, SplitModel


@MODELS.register("logistic")
class Logistic(ModelSpec):
    """One linear layer on the normalised pixels; the feature extractor is the identity and has nothing to train.

    Convex, so that something can be proved about it (see strategy ``crfl``); purifiers that train the extractor can't
    use it.
    """

    has_extractor = False
    paper = ("xie2021crfl", "the model of its certificates; textbook")
    choices = ("crfl-certificates",)

    def make(self, info: DataInfo) -> SplitModel:
        """Build for a data set."""
        channels, height, width = info.image_shape
        return SplitModel(nn.Flatten(), channels * height * width, info)
