"""The split model and the registry of model specifications."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from fedcrucible_core.config import Component, ConfigError, Registry
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.rng import derive_seed


class SplitModel(nn.Module):
    """A classifier made of a feature extractor f and a linear classifier c; input is ``[n, C, H, W]`` in [0, 1].

    Normalisation with the data set's published constants is the model's first step, so that triggers, guides and
    generators all work on plain pixels.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: nn.Module, feature_dim: int, info: DataInfo) -> None:
        super().__init__()
        self.features = features
        self.classifier = nn.Linear(feature_dim, info.num_classes)
        self.feature_dim = feature_dim
        self.register_buffer("mean", torch.tensor(info.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(info.std).view(1, -1, 1, 1), persistent=False)

    def embed(self, x: Tensor) -> Tensor:
        """Penultimate features ``[n, feature_dim]``, after pooling."""
        features: Tensor = self.features((x - self.mean) / self.std)
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[n, num_classes]``."""
        logits: Tensor = self.classifier(self.embed(x))
        return logits


class ModelSpec(Component):
    """Parameters of an architecture; ``build`` makes a freshly initialised model."""

    has_extractor: ClassVar[bool] = True
    """False: the feature extractor has no parameters, and nothing that trains one can use the model."""

    smallest: ClassVar[int] = 1
    """Least height and width of images, in pixels."""

    @abstractmethod
    def make(self, info: DataInfo) -> SplitModel:
        """Build the architecture for a data set (weights drawn from torch's current generator)."""

    def build(self, info: DataInfo, seed: int, *, channels_last: bool = False) -> SplitModel:
        """A model initialised from ``seed`` alone; torch's global generator is left as it was.

        Raises:
            ConfigError: images smaller than the architecture takes.
        """
        if min(info.shape[1:]) < self.smallest:
            allowed = f"takes images of at least {self.smallest} x {self.smallest} pixels, has {info.shape[1:]}"
            raise ConfigError("model.name", self.name, allowed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, "model-init"))
            model = self.make(info)
        return model.to(memory_format=torch.channels_last) if channels_last else model


MODELS: Registry[ModelSpec] = Registry("model", "fedcrucible_core.learning.models")
