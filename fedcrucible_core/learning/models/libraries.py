"""Architectures of torchvision and timm, by the names that these libraries give them."""

from __future__ import annotations

import importlib.util
from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.errors import did_you_mean
from fedcrucible_core.config.extras import install_hint
from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.models.base import MODELS, ModelSpec, Normalise, SplitModel

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Channel mean and standard deviation that weights trained on ImageNet expect."""


class LibraryModel(SplitModel):
    """A network of a library whose last linear layer is our classifier; state dicts of the library fit it."""

    def __init__(self, network: nn.Module, head: str, info: DataInfo) -> None:
        layer = network.get_submodule(head)
        if not isinstance(layer, nn.Linear):
            raise TypeError(f"{head} is no linear layer")
        parent, _, name = head.rpartition(".")
        setattr(network.get_submodule(parent), name, nn.Identity())
        super().__init__(network, layer.in_features, info)
        self.classifier = layer  # as the library initialises it
        self.library_head = head

    def embed(self, x: Tensor) -> Tensor:
        """Features ``[n, feature_dim]`` of pictures ``[n, 1 or 3, H, W]``; grey fills all three channels."""
        first: Tensor = self.first(x)
        features: Tensor = self.features(first.expand(-1, 3, -1, -1) if first.shape[1] == 1 else first)
        return features

    def own_names(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The library's names of tensors as ours; ours stay."""
        if "classifier.weight" in state and any(name.startswith("features.") for name in state):
            known = {f"features.{name}" for name in self.features.state_dict()}
            if known <= set(state):
                return state
        head = f"{self.library_head}."
        return {
            f"classifier.{name.removeprefix(head)}" if name.startswith(head) else f"features.{name}": tensor
            for name, tensor in state.items()
        }

    def library_names(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Our names of tensors as the library's, so that its own network loads them; what is ours alone is left out."""
        head, found = f"{self.library_head}.", {}
        for name, tensor in state.items():
            if name.startswith("classifier."):
                found[head + name.removeprefix("classifier.")] = tensor
            elif name.startswith("features."):
                found[name.removeprefix("features.")] = tensor
        return found


class LibrarySpec(ModelSpec):
    """A classification network of a library, with untrained weights."""

    architecture: str = Field("resnet18", description="Name of the network in the library")
    normalise: Literal["data", "imagenet", "none"] = Field(
        "data",
        description="Constants that pictures are normalised with: the data set's, those of ImageNet (usual for "
        "pre-trained weights), or none at all (the network does it, or expects [0, 1])",
    )

    def make(self, info: DataInfo) -> SplitModel:
        """Build for a data set. Raises ConfigError for a network that can't be had, or doesn't end in a linear layer.

        With constants of ImageNet grey pictures get three channels too.
        """
        network = self._network(info.num_classes)
        try:
            model = LibraryModel(network, self._head(network), info)
        except (AttributeError, TypeError) as error:
            allowed = "networks whose last layer is linear"
            raise ConfigError(f"model.{self.name}.architecture", self.architecture, allowed) from error
        model.first = Normalise(*self._constants(info))
        return model

    def check(self, info: DataInfo) -> None:
        """Also that the network takes pictures of this size: one is run through it."""
        super().check(info)
        model = self._probe(info)
        try:
            with torch.no_grad():
                model(torch.zeros(2, *info.shape))
        except Exception as error:  # networks raise what they like
            allowed = f"networks that take pictures of {info.shape[1]} x {info.shape[2]} pixels ({plain_text(error)})"
            raise ConfigError(f"model.{self.name}.architecture", self.architecture, allowed) from None

    def _probe(self, info: DataInfo) -> SplitModel:
        with torch.random.fork_rng(devices=[]):
            return self.make(info).eval()

    def _constants(self, info: DataInfo) -> tuple[Sequence[float], Sequence[float]]:
        if self.normalise == "none":
            return (0.0,), (1.0,)
        return (info.mean, info.std) if self.normalise == "data" else IMAGENET

    def _unknown(self, names: list[str]) -> ConfigError:
        allowed = f"{did_you_mean(self.architecture, names)}a network of {self.name}, one of {len(names)}"
        return ConfigError(f"model.{self.name}.architecture", self.architecture, allowed)

    @abstractmethod
    def _network(self, classes: int) -> nn.Module:
        """The library's network, untrained. Raises ConfigError."""

    @abstractmethod
    def _head(self, network: nn.Module) -> str:
        """Where its last linear layer is."""


@MODELS.register("torchvision")
class Torchvision(LibrarySpec):
    """Any classification network of torchvision, e.g. ``mobilenet_v3_small``; its state dicts can be loaded.

    Such networks expect pictures as large as ImageNet's; at 32 x 32 pixels most of them see little.
    """

    paper = "torchvision: docs of the library name each network's paper"

    def _network(self, classes: int) -> nn.Module:
        from torchvision import models

        names = models.list_models(module=models)
        if self.architecture not in names:
            raise self._unknown(names)
        extra = (
            {"aux_logits": False, "init_weights": True} if self.architecture in ("googlenet", "inception_v3") else {}
        )
        network: nn.Module = models.get_model(self.architecture, weights=None, num_classes=classes, **extra)
        return network

    def _head(self, network: nn.Module) -> str:
        linear: list[str] = [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear)]
        if not linear:
            raise TypeError("no linear layer")
        return str(linear[-1])


@MODELS.register("timm")
class Timm(LibrarySpec):
    """Any classification network of timm (pip install timm); its state dicts can be loaded."""

    architecture: str = Field("mobilenetv3_small_050", description="Name of the network in the library")
    paper = "timm: docs of the library name each network's paper"

    def _network(self, classes: int) -> nn.Module:
        if importlib.util.find_spec("timm") is None:
            raise ConfigError("model.name", "timm", install_hint("timm"))
        import timm

        names = timm.list_models()
        if self.architecture.split(".")[0] not in names:
            raise self._unknown(names)
        network: nn.Module = timm.create_model(self.architecture, pretrained=False, num_classes=classes)
        return network

    def _head(self, network: nn.Module) -> str:
        named = getattr(network, "default_cfg", {}).get("classifier", "")
        if not isinstance(named, str):  # several: distilled networks
            raise TypeError("several heads")
        return str(named)
