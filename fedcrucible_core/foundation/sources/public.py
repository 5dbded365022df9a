"""The guide's own public slice in place of anything synthetic: a control."""

from __future__ import annotations

from typing import ClassVar

import torch

from fedcrucible_core.foundation.base import SOURCES, Provenance, Samples, SyntheticSource
from fedcrucible_core.foundation.cache import files_digest
from fedcrucible_core.foundation.public_slice import public_samples
from fedcrucible_core.foundation.sources.fashion import drawn_by_class
from fedcrucible_core.learning.data import DataInfo, Labeled


@SOURCES.register("public")
class PublicSource(SyntheticSource):
    """Control, NOT synthetic: real labelled samples of the public slice that the guide itself may learn from.

    If a run with these does as well as one with sanitized synthetic data, the foundation model was not needed.  They
    are disjoint from the clients', the validation and the test samples.  Pictures: 200 a class of Fashion-MNIST.
    """

    paper = "control"
    choices = ("sanitizer-controls",)
    knowledge: ClassVar[tuple[str, ...]] = ("a public labelled slice of the task",)
    tasks: ClassVar[tuple[str, ...]] = ("vision", "text")

    def generate(self, info: DataInfo, per_class: int, seed: int, device: torch.device) -> Samples:  # noqa: ARG002
        """``per_class`` samples of every class without repetition, drawn by seed, classes in turn.

        Raises:
            ConfigError: more asked for than there are, or classes of which there are none.
        """
        public = public_samples(info)
        index = drawn_by_class(public.labels, dict(enumerate(info.class_names)), per_class, seed, self)
        kept = public.subset(index)
        names = (info.class_names[label] for label in kept.labels.tolist())
        origins = (Provenance(self.name, name, row) for name, row in zip(names, index.tolist(), strict=True))
        return Samples(Labeled(kept.inputs, kept.labels), tuple(origins))

    def check(self, info: DataInfo, per_class: int) -> None:
        """There are enough of every class. Raises ConfigError."""
        super().check(info, per_class)
        self.generate(info, per_class, 0, torch.device("cpu"))

    def fingerprint(self) -> str:
        """Content hash of what ships."""
        from fedcrucible_assets import asset_path

        return files_digest([asset_path("fashion-public"), asset_path("wordnet-texts")])
