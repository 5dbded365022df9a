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
from fedcrucible_core.learning.steps import Told, nobody

Stage = Literal["initialisation", "distillation"]
"""What the server's synthetic data are used for: before the first round, or after every one."""
STAGES: tuple[Stage, ...] = ("initialisation", "distillation")


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
    clean: Tensor | None = None
    """Originals that a splitter calls clean, row numbers int64; None = nobody split them."""
    triggered: Tensor | None = None
    """Originals that it calls triggered, row numbers int64."""

    def training_set(self) -> Labeled:
        """Originals and augmented copies together: M or 2M images."""
        data = self.originals
        if self.augmented is None:
            return data
        return Labeled(torch.cat([data.inputs, self.augmented]), torch.cat([data.labels, data.labels]))


@dataclass(frozen=True)
class GuideTargets:
    """The frozen guide's embeddings and logits of the server's samples, computed once.

    ``embeddings`` ``[m, e]`` and ``text_embeddings`` ``[C, e]`` are L2-normalised; ``logits`` ``[m, C]`` are
    ``scale`` times their cosines (plus the bias of SigLIP).  ``m`` counts the rows of ``ServerData.training_set()``.
    """

    embeddings: Tensor
    text_embeddings: Tensor
    logits: Tensor
    scale: float = 1.0
    """What the cosines were multiplied by, above 0."""

    def rescaled(self, scale: float) -> Tensor:
        """The logits ``[m, C]`` as if the cosines had been multiplied by ``scale``; 0 = the guide's own scale."""
        return self.logits if scale == 0.0 else self.logits * (scale / self.scale)


class Guide(ABC):
    """A frozen model that embeds inputs and class names alike: of pictures (CLIP) or of texts."""

    told: Told = staticmethod(nobody)
    """Hears how far a large set's embeddings are; of a guide that alters another's answers the other stays silent."""

    @property
    def identity(self) -> str:
        """Identity of the model behind the embeddings: a hash of its content, or name and commit."""
        return type(self).__qualname__

    @property
    def scale(self) -> float:
        """What :meth:`logits` multiplies cosines by."""
        return 1.0

    @abstractmethod
    def embeddings(self, inputs: Tensor) -> Tensor:
        """L2-normalised float32 ``[n, e]``; cached by content.

        Inputs are as a model takes them: images ``[n, 1 or 3, H, W]`` in [0, 1], or token ids int64 ``[n, L]``.
        """

    @abstractmethod
    def text_embeddings(self, class_names: Sequence[str]) -> Tensor:
        """L2-normalised float32 ``[C, e]``, averaged over the prompts of each class."""

    @abstractmethod
    def logits(self, embeddings: Tensor, text_embeddings: Tensor) -> Tensor:
        """Scaled similarities ``[n, C]``: scale x cosine (+ bias for SigLIP)."""

    def targets(self, inputs: Tensor, class_names: Sequence[str]) -> GuideTargets:
        """All that the guide says of a set of inputs."""
        embeddings, text = self.embeddings(inputs), self.text_embeddings(class_names)
        return GuideTargets(embeddings, text, self.logits(embeddings, text), self.scale)


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

    tasks: ClassVar[tuple[str, ...]] = ("vision",)
    """Of which kinds they may be (:mod:`fedcrucible_core.learning.tasks`)."""
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
        if info.task not in self.tasks:
            fitting = [name for name, source in SOURCES.classes().items() if info.task in source.tasks]
            has = f"{info.name} has inputs of task {info.task!r}"
            allowed = f"makes inputs of task {' or '.join(self.tasks)}, {has}; allowed: {', '.join(fitting) or 'none'}"
            raise ConfigError("synthetic.source", self.name, allowed)

    def fingerprint(self) -> str:
        """Digest of all else that decides what it makes (weights, files), for cache keys; cheap to compute."""
        return ""


SOURCES: Registry[SyntheticSource] = Registry(
    "synthetic", "fedcrucible_core.foundation.sources", key="synthetic.source"
)
