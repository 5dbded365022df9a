"""Weights that somebody trained before: a state dict in a file, put into a model of ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.learning.models.base import SplitModel

KEY = "model.weights"
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "params")
"""Entries under which training scripts keep the state dict in a checkpoint."""
PREFIXES = ("module.", "_orig_mod.")
"""What wrappers of modules put before every name."""
RECORDED = "model.safetensors"
"""The final model in the record of a run."""
SHOWN = 3


def weights_file(place: str) -> Path:
    """The file that ``model.weights`` means: itself, or of a run's record its model; whether it is there or not."""
    path = Path(place).expanduser()
    return path / RECORDED if path.is_dir() else path


def read_weights(place: str) -> dict[str, Tensor]:
    """The named tensors of a file: safetensors, or a state dict that ``torch.save`` wrote; of a run's record its model.

    A checkpoint that holds the state dict under a usual name is unwrapped, ``module.`` before every name is taken off.
    Nothing that a file holds is run.

    Raises:
        ConfigError: nothing is there, or it is no such file.
    """
    file = weights_file(place)
    if not file.is_file():
        raise ConfigError(KEY, place, "no such file; allowed: a state dict (.safetensors, .pt, .pth), a run's record")
    try:
        content = _content(file)
    except Exception as error:  # readers raise what they like on damaged files
        why = plain_text(error).split(". ")[0] or type(error).__name__
        raise ConfigError(KEY, place, f"can't be read as a state dict ({why})") from None
    return _plain_names(_state_dict(content, place))


def load_weights(model: SplitModel, place: str) -> None:
    """Put the weights of a file into ``model``, in place.

    Raises:
        ConfigError: the file's tensors aren't those of the architecture, or not all finite; some are named.
    """
    state = model.own_names(read_weights(place))
    wanted = model.state_dict()
    faults = [
        *_named("lacks", [name for name in wanted if name not in state]),
        *_named("has beside it", [name for name in state if name not in wanted]),
        *_named("has in another shape", [n for n in wanted if n in state and state[n].shape != wanted[n].shape]),
        *_named("holds no finite numbers in", [n for n in wanted if n in state and not state[n].isfinite().all()]),
    ]
    if faults:
        raise ConfigError(KEY, place, f"doesn't fit the model: it {'; '.join(faults)}; is model.name the right one?")
    model.load_state_dict(state)


def _content(file: Path) -> object:
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(file)
    return torch.load(file, map_location="cpu", weights_only=True)


def _state_dict(content: object, place: str) -> dict[str, Tensor]:
    for name in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    tensors: Mapping[Any, Any] = content if isinstance(content, Mapping) else {}
    if not tensors or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in tensors.items()):
        raise ConfigError(KEY, place, "holds no state dict: names with tensors, alone or under state_dict")
    return dict(tensors)


def _plain_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _named(fault: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return [f"{fault} {', '.join(plain_text(name) for name in names[:SHOWN])}{more}"]
