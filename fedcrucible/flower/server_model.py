"""The server's working copy of an app's model, and how the arrays of a record lie in it."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np
import torch
from flwr.app import Array, ArrayRecord
from torch import Tensor, nn

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.plain_text import error_text, plain_text
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.models.base import Normalise
from fedcrucible_core.learning.models.libraries import LibraryModel
from fedcrucible_core.learning.rng import derive_seed
from fedcrucible_core.learning.tasks import task_of
from fedcrucible_core.learning.vector import Slot, parameter_slots
from strategies.arrays import packed, values_of

PROBES = 2
"""Inputs by which a model is compared with its split copy."""
CLOSE = 1e-4


class WholeModel(nn.Module):
    """A model that nobody looks into: its inputs are normalised, its outputs are logits."""

    def __init__(self, network: nn.Module, info: DataInfo) -> None:
        super().__init__()
        self.first = Normalise(info.mean, info.std) if info.mean else nn.Identity()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[n, num_classes]``."""
        logits: Tensor = self.network(self.first(x))
        return logits


class AppModel(LibraryModel):
    """A model that is split where its last linear layer begins; pictures come to it as the app has them."""

    def embed(self, x: Tensor) -> Tensor:
        """Features ``[n, feature_dim]``."""
        features: Tensor = self.features(self.first(x))
        return features


@dataclass(frozen=True)
class ServerModel:
    """A copy of the app's model: split into extractor and classifier where something looks at features."""

    module: nn.Module
    names: Mapping[str, str]
    """The app's names of tensors, in the order of its state dict -> those of ``module``."""
    keys: dict[str, str] = field(default_factory=dict)
    """Keys of the record -> names of ``module``; filled by :meth:`bind`."""

    @classmethod
    def whole(cls, model: nn.Module, info: DataInfo, device: torch.device) -> ServerModel:
        """A copy of any model."""
        module = WholeModel(deepcopy(model).float(), info).to(device).eval()  # as the server's samples are
        return cls(module, {name: f"network.{name}" for name in model.state_dict()})

    @classmethod
    def split(cls, model: nn.Module, info: DataInfo, device: torch.device) -> ServerModel:
        """A copy that ends in a linear classifier, whose input are the features.

        Raises:
            ConfigError: the model takes other inputs, or doesn't end so.
        """
        linear = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Linear)]
        if not linear or not linear[-1][0]:
            raise _unfit(model, "a model that ends in a linear layer")
        head, layer = linear[-1]
        if layer.out_features != info.num_classes:
            allowed = f"its last linear layer {head!r} has {layer.out_features} outputs, there are {info.num_classes}"
            raise _unfit(model, f"{allowed} classes (class_names)")
        module = AppModel(deepcopy(model).float(), head, info).to(device).eval()
        whole = cls.whole(model, info, device).module
        inputs = task_of(info).random_inputs(PROBES, torch.Generator().manual_seed(0)).to(device)
        try:
            with torch.no_grad():
                apart = float((module(inputs) - whole(inputs)).abs().max())
        except Exception as error:  # models raise what they like
            raise _unfit(model, f"takes a batch of inputs of shape {info.shape}: {error_text(error)}") from None
        if not apart <= CLOSE:
            raise _unfit(model, f"a model that returns the outputs of its last linear layer {head!r} as they are")
        names = {
            name: f"classifier.{name[len(head) + 1 :]}" if name.startswith(f"{head}.") else f"features.{name}"
            for name in model.state_dict()
        }
        return cls(module, names)

    def bind(self, arrays: ArrayRecord) -> None:
        """Learn which array is which tensor: by name, or by position where arrays are only numbered.

        What the record holds is trained, all else of the model stays as it is.

        Raises:
            ConfigError: the record holds what the model doesn't.
        """
        names = self._named(list(arrays))
        tensors = self.module.state_dict(keep_vars=True)
        for key, name in names.items():
            shape = tuple(arrays[key].shape)
            if shape != tuple(tensors[name].shape):
                allowed = f"array {key!r} has shape {shape}, the model's has {tuple(tensors[name].shape)}"
                raise ConfigError("model", type(self.module).__name__, allowed)
        self.keys.clear()
        self.keys.update(names)
        held = {id(tensors[name]) for name in names.values()}
        for parameter in self.module.parameters():
            parameter.requires_grad_(id(parameter) in held and parameter.is_floating_point())

    @property
    def order(self) -> list[str]:
        """Keys of what is learned, as it lies in the model's flat vector."""
        by_name = {name: key for key, name in reversed(self.keys.items())}
        tensors = self.module.state_dict(keep_vars=True)
        first = {id(tensors[name]): by_name[name] for name in by_name}
        named = [(n, p) for n, p in self.module.named_parameters() if p.requires_grad]
        return [by_name.get(name, first[id(parameter)]) for name, parameter in named]

    @property
    def copies(self) -> dict[str, str]:
        """Keys of tied weights -> the key that stands for them."""
        tensors = self.module.state_dict(keep_vars=True)
        first = {id(tensors[self.keys[key]]): key for key in self.order}
        return {
            key: first[id(tensors[name])]
            for key, name in self.keys.items()
            if id(tensors[name]) in first and first[id(tensors[name])] != key
        }

    @property
    def statistics(self) -> dict[str, str]:
        """Keys of the model's buffers -> their names."""
        buffers = {name for name, _ in self.module.named_buffers()}
        return {key: name for key, name in self.keys.items() if name in buffers}

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Layout of the flat vector, by the names of ``module``."""
        return parameter_slots(self.module)

    def untrained(self, seed: int) -> nn.Module:
        """A copy whose layers draw their first weights anew; what no layer of torch draws is the model's."""
        fresh = deepcopy(self.module)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, "model-init"))
            for layer in fresh.modules():
                reset = getattr(layer, "reset_parameters", None)
                if callable(reset):
                    reset()
        return fresh

    def load(self, arrays: ArrayRecord) -> None:
        """Make the model hold a record's arrays."""
        state = {name: torch.from_numpy(np.array(values_of(arrays[key]))) for key, name in self.keys.items()}
        self.module.load_state_dict(state, strict=False)
        self.module.eval()

    def arrays(self, like: ArrayRecord) -> ArrayRecord:
        """What the model holds, in the form of another record."""
        state = self.module.state_dict()

        def made(key: str, array: Array) -> Array:
            values = state[self.keys[key]].detach().to("cpu")
            return packed((values.float() if values.dtype == torch.bfloat16 else values).numpy(), array.dtype)

        return ArrayRecord({key: made(key, array) for key, array in like.items()})

    def _named(self, keys: list[str]) -> dict[str, str]:
        if set(keys) <= set(self.names):
            return {key: self.names[key] for key in keys}
        parameters = {name for name, _ in self.module.named_parameters(remove_duplicate=False)}
        for own in (list(self.names.values()), [name for name in self.names.values() if name in parameters]):
            if keys == [str(number) for number in range(len(own))]:
                return dict(zip(keys, own, strict=True))
        unknown = [plain_text(key, 40) for key in keys if key not in self.names]
        allowed = f"a model that has the arrays of the record: it lacks {', '.join(unknown[:4])}"
        raise ConfigError("model", type(self.module).__name__, allowed)


def _unfit(model: nn.Module, allowed: str) -> ConfigError:
    return ConfigError("model", type(model).__name__, allowed)
