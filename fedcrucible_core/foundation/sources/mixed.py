"""Same-class mixtures of public images: the fallback that needs no generator."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch

from fedcrucible_core.foundation.base import SOURCES, Provenance, Samples, SyntheticSource
from fedcrucible_core.foundation.cache import files_digest
from fedcrucible_core.foundation.pixels import fit
from fedcrucible_core.foundation.sources.fashion import drawn_by_class, fashion_classes, interleaved_labels
from fedcrucible_core.learning.data import DataInfo, Labeled


@SOURCES.register("mixed")
class MixedSource(SyntheticSource):
    """NOT a generative model: shipped mixtures of two similar public Fashion-MNIST images of one class, 200 a class.

    Each is ``lam a + (1 - lam) b`` of a public image and one of its nearest public neighbours, lam in [0.3, 0.7]. They
    keep nearly all that real images know, which is a stronger assumption than generated ones: name it beside results.
    """

    paper = "this project's offline fallback"
    choices = ("offline-images",)
    knowledge: ClassVar[tuple[str, ...]] = ("public images of the same classes",)

    def generate(self, info: DataInfo, per_class: int, seed: int, device: torch.device) -> Samples:  # noqa: ARG002
        """``per_class`` of the shipped images of every class without repetition, drawn by seed, classes in turn.

        Raises:
            ConfigError: more images asked for than ship, or classes that aren't Fashion-MNIST's.
        """
        from fedcrucible_assets import asset_path

        classes = fashion_classes(info, self.name).tolist()
        with np.load(asset_path("mixed-public")) as file:
            shipped, shipped_labels = torch.from_numpy(file["images"]), torch.from_numpy(file["labels"]).long()
        index = drawn_by_class(shipped_labels, dict(zip(classes, info.class_names, strict=True)), per_class, seed, self)
        labels = interleaved_labels(info.num_classes, per_class)
        images = fit(shipped[index][:, None].to(torch.float32) / 255.0, info.shape)
        names = (info.class_names[label] for label in labels.tolist())
        provenance = tuple(Provenance(self.name, name, i) for name, i in zip(names, index.tolist(), strict=True))
        return Samples(Labeled(images, labels), provenance)

    def check(self, info: DataInfo, per_class: int) -> None:
        """All classes are among those that ship. Raises ConfigError."""
        super().check(info, per_class)
        fashion_classes(info, self.name)

    def fingerprint(self) -> str:
        """Content hash of the shipped file."""
        from fedcrucible_assets import asset_path

        return files_digest([asset_path("mixed-public")])
