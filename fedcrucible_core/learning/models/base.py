"""The split model and the registry of model specifications."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from fedcrucible_core.config import Component, ConfigError, Registry
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.rng import derive_seed


class Normalise(nn.Module):
    """(x - mean) / std of pictures ``[n, C, H, W]`` by constants per channel, which are no part of the weights."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised pictures."""
        return (x - self.mean) / self.std


class SplitModel(nn.Module):
    """A classifier made of a feature extractor f and a linear classifier c.

    Its input is ``[n, ...]`` of the data set's shape.  Pictures are in [0, 1]: the first layer normalises them with the
    data set's published constants, so that triggers, guides and generators all work on plain pixels.
    """

    output: str = "classifier"
    """Name of the linear layer that makes the logits."""

    def __init__(self, features: nn.Module, feature_dim: int, info: DataInfo) -> None:
        super().__init__()
        self.first = Normalise(info.mean, info.std) if info.mean else nn.Identity()
        self.features = features
        self.classifier = nn.Linear(feature_dim, info.num_classes)
        self.feature_dim = feature_dim

    @property
    def head(self) -> nn.Linear:
        """The layer that ``output`` names."""
        layer = self.get_submodule(self.output)
        assert isinstance(layer, nn.Linear)
        return layer

    def own_names(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """A state dict from elsewhere under this model's names of tensors; here they are the same."""
        return state

    def embed(self, x: Tensor) -> Tensor:
        """Penultimate features ``[n, feature_dim]``, after pooling."""
        features: Tensor = self.features(self.first(x))
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[n, num_classes]``."""
        logits: Tensor = self.head(self.embed(x))
        return logits


class ModelSpec(Component):
    """Parameters of an architecture; ``build`` makes a freshly initialised model."""

    has_extractor: ClassVar[bool] = True
    """False: the feature extractor has no parameters, and nothing that trains one can use the model."""

    smallest: ClassVar[int] = 1
    """Least height and width of images, in pixels."""

    task: ClassVar[str] = "vision"
    """The kind of inputs it takes."""

    blocks: int = Field(0, ge=0, le=16, description="Further blocks (linear, ReLU) before the output layer")
    block_width: int = Field(128, ge=1, le=65_536, description="Outputs of each further block")

    def check(self, info: DataInfo) -> None:
        """Raise ConfigError when the architecture can't take a data set's inputs."""
        if info.task != self.task:
            fitting = ", ".join(name for name in MODELS if MODELS[name].task == info.task)
            allowed = f"takes {self.task} inputs, {info.name} has those of task {info.task!r}; allowed: {fitting}"
            raise ConfigError("model.name", self.name, allowed)
        if self.task == "vision" and min(info.image_shape[1:]) < self.smallest:
            allowed = f"takes images of at least {self.smallest} x {self.smallest} pixels, has {info.shape[1:]}"
            raise ConfigError("model.name", self.name, allowed)

    @abstractmethod
    def make(self, info: DataInfo) -> SplitModel:
        """Build the architecture for a data set (weights drawn from torch's current generator)."""

    def build(self, info: DataInfo, seed: int, *, channels_last: bool = False) -> SplitModel:
        """A model initialised from ``seed`` alone; torch's global generator is left as it was.

        Raises:
            ConfigError: inputs of another kind, or images smaller than the architecture takes.
        """
        self.check(info)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, "model-init"))
            model = deepened(self.make(info), self.blocks, self.block_width, info)
        return model.to(memory_format=torch.channels_last) if channels_last else model


def deepened(model: SplitModel, blocks: int, width: int, info: DataInfo) -> SplitModel:
    """The model with ``blocks`` blocks (linear layer, ReLU) of ``width`` outputs between its features and its output.

    They belong to the extractor: features are then those of the last block.  Weights come from torch's generator.
    """
    if not blocks:
        return model
    sizes = [model.feature_dim] + [width] * blocks
    layers = [layer for a, b in itertools.pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU(inplace=True))]
    return SplitModel(nn.Sequential(model.features, *layers), width, info)


MODELS: Registry[ModelSpec] = Registry("model", "fedcrucible_core.learning.models")
