"""Fresh models kept on disk by all that they follow from, so that an interrupted run need not train them again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from defenses.needs import FreshModels
from fedcrucible_core.foundation.cache import arithmetic, digest, read_tensors, write_tensors
from fedcrucible_core.learning.data import Labeled

VERSION = "1"
"""Part of every key: raise it when the same training would end in other weights."""
RNG, WEIGHT = "rng", "weight."
PROBED = 8
"""Samples whose logits by the untrained model stand for its architecture."""


@dataclass(frozen=True)
class ModelStore:
    """A folder of weights.

    The key holds the data, the training's settings, the state of the generator, the untrained weights, what they
    answer, and all that last bits depend on: what is found is what would be trained.  The generator goes on from where
    training would have left it.
    """

    folder: Path

    def about(self, wanted: FreshModels, data: Labeled) -> str:
        """Digest of a set and of how it is learned; of a large set a second's work, so once for all its models."""
        return digest(VERSION, repr(sorted(asdict(wanted).items())), data.inputs, data.labels)

    def place(self, about: str, model: nn.Module, inputs: Tensor, rng: torch.Generator) -> Path:
        """Where the trained ``model`` lies; ``model`` is untrained yet, ``rng`` as it will train it."""
        model.eval()
        with torch.no_grad():
            answers = model(inputs[:PROBED])
        state = [part for name, tensor in model.state_dict().items() for part in (name, tensor)]
        computed = arithmetic(inputs.device)
        return self.folder / f"{digest(about, computed, answers, rng.get_state(), *state)}.safetensors"

    def recall(self, path: Path, model: nn.Module, rng: torch.Generator) -> bool:
        """Put the weights into ``model`` and move ``rng`` on; False where there are none that fit."""
        content = read_tensors(path)
        if content is None:
            return False
        tensors = dict(content[0])
        state = tensors.pop(RNG, None)
        weights = {name.removeprefix(WEIGHT): tensor for name, tensor in tensors.items()}
        own = model.state_dict()
        fits = set(weights) == set(own) and all(weights[n].shape == t.shape for n, t in own.items())
        if state is None or state.dtype != torch.uint8 or not fits:
            return False
        if not all(bool(tensor.isfinite().all()) for tensor in weights.values()):
            return False
        model.load_state_dict(weights)
        rng.set_state(state)
        return True

    def keep(self, path: Path, model: nn.Module, rng: torch.Generator) -> None:
        """Write what was trained; a folder that can't be written is a warning."""
        weights = {f"{WEIGHT}{name}": tensor for name, tensor in model.state_dict().items()}
        write_tensors(path, weights | {RNG: rng.get_state()})


Train = Callable[[], None]


def trained_or_kept(
    store: ModelStore | None, about: str, model: nn.Module, inputs: Tensor, rng: torch.Generator, train: Train
) -> None:
    """``train()``, or its outcome from the store."""
    if store is None:
        train()
        return
    path = store.place(about, model, inputs, rng)
    if not store.recall(path, model, rng):
        train()
        store.keep(path, model, rng)
