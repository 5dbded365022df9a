"""What a data set is, once it is tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from fedcrucible_core.config import ConfigError


def model_inputs(inputs: Tensor) -> Tensor:
    """Inputs as models, triggers and guides take them.

    Stored pictures (uint8, 0..255) become float32 in [0, 1], in memory of their own; all else is returned as it is.
    """
    return inputs.to(torch.float32).div_(255.0) if inputs.dtype == torch.uint8 else inputs


@dataclass(frozen=True)
class Labeled:
    """Inputs ``[n, ...]`` with labels int64 ``[n]``; -1 = no label.

    Pictures are uint8 ``[n, C, H, W]`` (0..255) as stored, or float32 in [0, 1] as a model takes them; texts are token
    ids int64 ``[n, L]``.

    ``rows`` int64 ``[n]`` says which rows of the set they were taken from these are, where that is known: what a
    published split says of a sample besides its label (who made it, where) is found by it.
    """

    inputs: Tensor
    labels: Tensor
    rows: Tensor | None = None

    def __post_init__(self) -> None:
        if self.inputs.dtype == torch.uint8 and self.inputs.ndim != 4:
            raise ValueError(f"images must be uint8 [n, C, H, W], got {self.inputs.dtype} {tuple(self.inputs.shape)}")
        if self.labels.shape != (len(self.inputs),):
            raise ValueError(f"{len(self.inputs)} inputs but labels of shape {tuple(self.labels.shape)}")

    def __len__(self) -> int:
        return len(self.inputs)

    def subset(self, indices: Tensor) -> Labeled:
        """The samples at ``indices`` (int64)."""
        rows = None if self.rows is None else self.rows[indices.to(self.rows.device)]
        return Labeled(self.inputs[indices], self.labels[indices], rows)

    def numbered(self) -> Labeled:
        """The same samples as rows 0..n-1 of their published split."""
        return Labeled(self.inputs, self.labels, torch.arange(len(self)))

    def for_model(self) -> Tensor:
        """The inputs as :func:`model_inputs` makes them."""
        return model_inputs(self.inputs)

    def to(self, device: torch.device | str) -> Labeled:
        """The same samples, inputs and labels on ``device``; rows stay where they are."""
        return Labeled(self.inputs.to(device), self.labels.to(device), self.rows)

    def equals(self, other: Labeled) -> bool:
        """Whether both hold the same samples in the same order."""
        return torch.equal(self.labels, other.labels) and torch.equal(self.inputs, other.inputs)


@dataclass(frozen=True)
class DataInfo:
    """Facts of a data set: class names, shape of an input, and of pictures the published normalisation per channel.

    The shape is (C, H, W) of pictures, (L,) of texts; ``mean`` and ``std`` are empty where nothing is normalised.
    """

    name: str
    class_names: tuple[str, ...]
    shape: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    own_names: tuple[str, ...] = ()
    """What the data set itself calls its classes, where ``task.class_names`` renames them; empty = ``class_names``."""

    task: str = "vision"
    """Of which kind its inputs are (:mod:`fedcrucible_core.learning.tasks`)."""
    tokenizer: str = ""
    """By what texts became token ids: ``wordnet`` (ships), a hub name or a folder; empty for pictures."""
    reserved: int = 0
    """Tokens at the end of every text that are kept free for what a trigger adds."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of its pictures. Raises ConfigError when its inputs are no pictures."""
        if self.task != "vision":
            raise ConfigError("task.dataset", self.name, f"has no images, its inputs are of task {self.task!r}")
        channels, height, width = self.shape
        return channels, height, width

    @property
    def num_classes(self) -> int:
        """C, the number of classes."""
        return len(self.class_names)


@dataclass(frozen=True)
class DataSplits:
    """``train`` is shared out to clients; ``validation`` is for choices; ``test`` is measured once chosen.

    ``notes`` are what a reader of the numbers has to know of the splits.
    """

    info: DataInfo
    train: Labeled
    validation: Labeled
    test: Labeled
    notes: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    """File (or what else says which it is) and reason, of every one that could not be used."""
    tested: bool = True
    """Whether ``test`` holds inputs that nobody trains on; False: the training inputs stand in."""

    def measured(self, split: Literal["test", "validation", "none"]) -> Labeled:
        """What models are measured on: the split that ``task.eval_split`` names; nothing for none."""
        if split == "none":
            return self.test.subset(torch.arange(0))
        return self.test if split == "test" else self.validation
