"""Contracts of the guide and of the server's synthetic data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from fedcrucible_core.config import Component, ConfigError, Registry
from fedcrucible_core.foundation.alteration import Alteration
from fedcrucible_core.learning.data import DataInfo, Labeled

Stage = Literal["initialisation", "distillation"]
"""What the server's synthetic data are used for: before the first round, or after every one."""


@dataclass(frozen=True)
class Provenance:
    """Where one synthetic sample came from."""

    source: str
    prompt: str
    index: int


@dataclass(frozen=True)
class ServerData:
    """The server's labelled data: originals followed by their augmented copies (if any).

    ``originals`` are M images, float32 in [0, 1], or texts, token ids int64, with the prompted classes; ``augmented``
    float32 ``[M, C, H, W]`` are copies of images with the same labels, or None; ``facts`` are numbers for the record:
    class counts, samples dropped by the guide and, with frequency augmentation, ``band`` (1..K), the band the noise was
    put in.
    """

    originals: Labeled
    augmented: Tensor | None
    provenance: tuple[Provenance, ...]
    facts: dict[str, float]
    poisoned: Tensor | None = None
    """The truth, bool ``[M]``: which originals an attacker has been at; for the record only. None = none."""

    def training_set(self) -> Labeled:
        """Originals and augmented copies together: M or 2M images."""
        data = self.originals
        if self.augmented is None:
            return data
        return Labeled(torch.cat([data.inputs, self.augmented]), torch.cat([data.labels, data.labels]))


@dataclass(frozen=True)
class GuideTargets:
    """The frozen guide's embeddings and logits of the server's images, computed once.

    ``image_embeddings`` ``[m, e]`` and ``text_embeddings`` ``[C, e]`` are L2-normalised; ``logits`` ``[m, C]`` are
    logit_scale times their cosines (plus the bias of SigLIP).  ``m`` counts the rows of ``ServerData.training_set()``.
    """

    image_embeddings: Tensor
    text_embeddings: Tensor
    logits: Tensor


class Guide(ABC):
    """A frozen vision-language model."""

    @property
    def identity(self) -> str:
        """Identity of the model behind the embeddings: a hash of its content, or name and commit."""
        return type(self).__qualname__

    @abstractmethod
    def image_embeddings(self, images: Tensor) -> Tensor:
        """L2-normalised float32 ``[n, e]`` of images ``[n, C, H, W]`` in [0, 1] (C = 1 or 3); cached by content."""

    @abstractmethod
    def text_embeddings(self, class_names: Sequence[str]) -> Tensor:
        """L2-normalised float32 ``[C, e]``, averaged over the prompt templates."""

    @abstractmethod
    def logits(self, image_embeddings: Tensor, text_embeddings: Tensor) -> Tensor:
        """Scaled similarities ``[n, C]``: exp(logit_scale) x cosine (+ bias for SigLIP)."""

    def targets(self, images: Tensor, class_names: Sequence[str]) -> GuideTargets:
        """Embeddings and logits of a set of images, for purifiers."""
        image, text = self.image_embeddings(images), self.text_embeddings(class_names)
        return GuideTargets(image, text, self.logits(image, text))


@dataclass(frozen=True)
class Samples:
    """Labelled inputs with one provenance each: pictures float32 in [0, 1], texts token ids int64."""

    data: Labeled
    provenance: tuple[Provenance, ...]
    poisoned: Tensor | None = None
    """The truth, bool ``[n]``: which of them an attacker has been at; no defence is told. None = none."""
    facts: dict[str, float] = field(default_factory=dict)
    """Numbers for the record: what a source met on the way, what an attacker asked for, and got."""


class SourceError(RuntimeError):
    """A source failed on the way (service down, unreadable answer); the message says what to do."""


class SyntheticSource(Component):
    """Makes labelled inputs for the server from class names; no client's are involved."""

    task: ClassVar[str] = "vision"
    """Of which kind they are (:mod:`fedcrucible_core.learning.tasks`)."""
    offline: ClassVar[bool] = True
    """False: it needs a network service or a download."""
    obeys: ClassVar[bool] = False
    """True: it reads instructions, as a language model does, so that an altered query changes what it makes."""

    @abstractmethod
    def generate(self, info: DataInfo, per_class: int, seed: int, device: torch.device) -> Samples:
        """``per_class`` inputs of every class, of ``info.shape``, deterministic for a seed where possible."""

    def generate_altered(  # those that obey override it
        self,
        info: DataInfo,  # noqa: ARG002
        per_class: int,  # noqa: ARG002
        seed: int,  # noqa: ARG002
        device: torch.device,  # noqa: ARG002
        alteration: Alteration,  # noqa: ARG002
    ) -> Samples:
        """What it makes when an attacker has altered the query; ``poisoned`` says which samples hold the trigger.

        Raises:
            TypeError: it reads no instructions (``obeys``).
        """
        raise TypeError(f"synthetic source {self.name!r} reads no instructions")

    def check(self, info: DataInfo, per_class: int) -> None:  # noqa: ARG002
        """Whether it can make ``per_class`` inputs of every class; cheap, and asked before any client starts.

        Raises:
            ConfigError: it can't; the message says what it lacks, or which sources make inputs of this kind.
        """
        if info.task != self.task:
            fitting = [name for name, source in SOURCES.classes().items() if source.task == info.task]
            has = f"{info.name} has inputs of task {info.task!r}"
            allowed = f"makes inputs of task {self.task!r}, {has}; allowed: {', '.join(fitting) or 'none'}"
            raise ConfigError("synthetic.source", self.name, allowed)

    def fingerprint(self) -> str:
        """Digest of all else that decides what it makes (weights, files), for cache keys; cheap to compute."""
        return ""


SOURCES: Registry[SyntheticSource] = Registry(
    "synthetic", "fedcrucible_core.foundation.sources", key="synthetic.source"
)
