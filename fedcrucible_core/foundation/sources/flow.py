"""Synthetic images of the small generator that ships."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from pydantic import Field

from fedcrucible_core.config import ConfigError
from fedcrucible_core.foundation.base import SOURCES, Provenance, Samples, SyntheticSource
from fedcrucible_core.foundation.cache import files_digest, model_files
from fedcrucible_core.foundation.pixels import fit
from fedcrucible_core.foundation.sources.fashion import fashion_classes, interleaved_labels
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.rng import torch_generator


@SOURCES.register("flow")
class FlowSource(SyntheticSource):
    """Local class-conditional generator (flow matching), trained on 10,000 public Fashion-MNIST images; it ships.

    No client has any of those 10,000 images. Works for Fashion-MNIST's classes; with ``path``, for any generator of the
    same kind whose class numbers are the data set's labels.
    """

    paper = ("lipman2023flow", "")
    choices = ("offline-images", "server-images")
    knowledge: ClassVar[tuple[str, ...]] = ("a generator trained on public images of the same classes",)

    steps: int = Field(0, ge=0, le=1000, description="Integration steps; 0 = the generator's own")
    guidance: float = Field(0.0, ge=0.0, le=50.0, description="Classifier-free guidance; 0 = the generator's own")
    path: str = Field("", description="Folder of another generator of this kind; empty = the one that ships")

    def generate(self, info: DataInfo, per_class: int, seed: int, device: torch.device) -> Samples:
        """``per_class`` images of every class, classes in turn; the same for the same seed and device type.

        Raises:
            ConfigError: classes that the generator doesn't know, or a ``path`` that holds no generator.
        """
        from fedcrucible_core.foundation.generators.flow import FlowGenerator

        classes = torch.arange(info.num_classes) if self.path else fashion_classes(info, self.name)
        try:
            with torch.random.fork_rng(devices=[]):  # a fresh network draws its first weights, soon overwritten
                generator = FlowGenerator.from_folder(self._folder(), device)
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            if not self.path:
                raise
            raise ConfigError("synthetic.flow.path", self.path, f"holds no flow generator ({error})") from error
        known = generator.config.num_classes
        if int(classes.max()) >= known:
            wanted = f"that generator has {known} classes, but {info.name} has {info.num_classes}"
            raise ConfigError("synthetic.flow.path", self.path, wanted)
        labels = interleaved_labels(info.num_classes, per_class)
        rng = torch_generator(seed, "synthetic/flow")
        images = generator.sample(classes[labels], rng, steps=self.steps or None, guidance=self.guidance or None)
        provenance = tuple(Provenance(self.name, info.class_names[y], i) for i, y in enumerate(labels.tolist()))
        return Samples(Labeled(fit(images, info.shape), labels), provenance)

    def check(self, info: DataInfo, per_class: int) -> None:
        """The generator that ships knows all classes. Raises ConfigError."""
        super().check(info, per_class)
        if not self.path:
            fashion_classes(info, self.name)

    def fingerprint(self) -> str:
        """Content hash of the generator's folder."""
        folder = self._folder()
        return files_digest(model_files(folder)) if folder.is_dir() else ""

    def _folder(self) -> Path:
        if self.path:
            return Path(self.path).expanduser()
        from fedcrucible_assets import asset_path

        return asset_path("flow-fashion")
