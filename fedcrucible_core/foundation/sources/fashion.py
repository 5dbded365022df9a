"""The classes that the shipped assets know, found by name so that label numbers need not agree, and draws of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fedcrucible_core.config import ConfigError
from fedcrucible_core.foundation.base import SyntheticSource
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.datasets.class_folders import folded
from fedcrucible_core.learning.rng import torch_generator

NAMES: tuple[tuple[str, ...], ...] = (
    ("t shirt", "t shirt top", "t shirt or top", "tshirt"),
    ("trouser", "trousers"),
    ("pullover",),
    ("dress",),
    ("coat",),
    ("sandal",),
    ("shirt",),
    ("sneaker",),
    ("bag",),
    ("ankle boot",),
)
"""Fashion-MNIST's classes in published order, each with the spellings in use."""


OTHER_SOURCES = (
    "choose another source: folder (your own pictures in synthetic.folder.path, one folder per class), diffusers or "
    "openai-images (made from the class names); strategies without a server phase, e.g. flame, need none"
)


def fashion_classes(info: DataInfo, source: str) -> Tensor:
    """Published Fashion-MNIST label of each of ``info``'s classes, int64 ``[C]``.

    Raises:
        ConfigError: a class that Fashion-MNIST doesn't have.
    """
    known = {spelling: label for label, spellings in enumerate(NAMES) for spelling in spellings}
    names = info.own_names or info.class_names
    unknown = [name for name in names if folded(name) not in known]
    if unknown:
        have = ", ".join(spellings[0] for spellings in NAMES)
        wanted = f"only knows the classes {have}; {info.name} also has {', '.join(unknown)}: {OTHER_SOURCES}"
        raise ConfigError("synthetic.source", source, wanted)
    return torch.tensor([known[folded(name)] for name in names])


def interleaved_labels(num_classes: int, per_class: int) -> Tensor:
    """Labels 0, 1, .., C-1, 0, 1, .. int64 ``[C * per_class]``: every prefix is as balanced as it can be."""
    return torch.arange(num_classes).repeat(per_class)


def drawn_by_class(
    labels: Tensor, names: Mapping[int, str], per_class: int, seed: int, source: SyntheticSource
) -> Tensor:
    """Rows int64 ``[C * per_class]`` of what ships, drawn by seed without repetition, classes in turn.

    Args:
        labels: of what ships, int64 ``[n]``.
        names: name of every wanted class by its number among ``labels``, in the order of the data set's classes.
        per_class: rows of each.
        seed: the run's seed.
        source: whose draw it is; each has generators of its own.

    Raises:
        ConfigError: more rows asked for than a class has.
    """
    chosen = []
    for label, name in names.items():
        rows = (labels == label).nonzero().flatten()
        if per_class > len(rows):
            wanted = f"at most {len(rows)} with synthetic.source {source.name} ({name} has no more)"
            raise ConfigError("synthetic.per_class", per_class, wanted)
        order = torch.randperm(len(rows), generator=torch_generator(seed, f"synthetic/{source.name}", label))
        chosen.append(rows[order[:per_class]])
    return torch.stack(chosen, dim=1).flatten()
