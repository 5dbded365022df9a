"""What a data set is, once it is tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LabeledImages:
    """Images uint8 ``[n, C, H, W]`` (0..255) with labels int64 ``[n]``; -1 = no label.

    ``rows`` int64 ``[n]`` says which rows of the published split these are, where that is known: what the split says
    of an image besides its label (who made it, where) is found by it.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor | None = None

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != torch.uint8:
            raise ValueError(f"images must be uint8 [n, C, H, W], got {self.images.dtype} {tuple(self.images.shape)}")
        if self.labels.shape != (len(self.images),):
            raise ValueError(f"{len(self.images)} images but labels of shape {tuple(self.labels.shape)}")

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, indices: Tensor) -> LabeledImages:
        """The samples at ``indices`` (int64)."""
        rows = None if self.rows is None else self.rows[indices]
        return LabeledImages(self.images[indices], self.labels[indices], rows)

    def numbered(self) -> LabeledImages:
        """The same samples as rows 0..n-1 of their published split."""
        return LabeledImages(self.images, self.labels, torch.arange(len(self)))

    def pixels(self) -> Tensor:
        """Images as float32 in [0, 1]; triggers, guides and models all take this scale."""
        return self.images.to(torch.float32).div_(255.0)


@dataclass(frozen=True)
class ClientData:
    """Images float32 ``[n, C, H, W]`` in [0, 1] and labels int64 ``[n]``, as a client trains on them."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor) -> ClientData:
        """The samples at ``indices`` (int64)."""
        return ClientData(self.images[indices], self.labels[indices])

    def equals(self, other: ClientData) -> bool:
        """Whether both hold the same samples in the same order."""
        return torch.equal(self.labels, other.labels) and torch.equal(self.images, other.images)


@dataclass(frozen=True)
class DataInfo:
    """Facts of a data set: class names, image shape (C, H, W), published normalisation constants per channel."""

    name: str
    class_names: tuple[str, ...]
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    own_names: tuple[str, ...] = ()
    """What the data set itself calls its classes, where ``task.class_names`` renames them; empty = ``class_names``."""

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
    train: LabeledImages
    validation: LabeledImages
    test: LabeledImages
    notes: tuple[str, ...] = ()
