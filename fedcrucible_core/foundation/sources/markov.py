"""Synthetic texts of a chain over words: what can be had offline, without any model."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field

from fedcrucible_core.foundation.base import SOURCES, Provenance, Samples, SyntheticSource
from fedcrucible_core.foundation.cache import digest
from fedcrucible_core.foundation.generators.markov import MarkovChain
from fedcrucible_core.foundation.public_texts import class_texts, sources_digest
from fedcrucible_core.foundation.sources.fashion import interleaved_labels
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.rng import numpy_generator
from fedcrucible_core.learning.tasks.text import TextTask

MOST_DRAWS = 50
"""Draws in a row that are copies, after which one is kept."""
VERSION = "1"
"""Raise it when the same texts would give others."""


@SOURCES.register("markov")
class MarkovSource(SyntheticSource):
    """NOT a language model: one chain over words per class, of order 2, learned from public texts of that class.

    It has their wording and no sense; no instruction reaches it.  By itself it is far weaker than a language model in
    what it can say, yet a bag of words learns nearly as much from it as from its sources: name it beside results.  A
    drawn text that copies a source word for word is drawn again.
    """

    paper = "this project's offline fallback"
    choices = ("offline-texts",)
    knowledge: ClassVar[tuple[str, ...]] = ("public labelled texts of the same classes",)
    tasks: ClassVar[tuple[str, ...]] = ("text",)

    backoff: float = Field(
        0.3, ge=0.0, le=1.0, description="Chance (fraction) that a word depends on the one before it alone"
    )
    path: str = Field(
        "", description="JSON-lines file of public texts with text and label; empty = the data set's public slice"
    )

    def generate(self, info: DataInfo, per_class: int, seed: int, device: torch.device) -> Samples:  # noqa: ARG002
        """``per_class`` texts of every class, classes in turn; the same for the same seed and sources.

        Facts: ``markov.copies_avoided`` counts draws that copied a source or repeated an earlier draw,
        ``markov.copies`` those that are left because nothing else came.

        Raises:
            ConfigError: there are no public texts of some class.
        """
        sources = class_texts(info, self.path, "synthetic.markov.path")
        drawn: list[list[str]] = []
        avoided = left = 0
        for label, texts in enumerate(sources):
            rng = numpy_generator(seed, "synthetic/markov", label)
            made, thrown_away, copies = _draw(MarkovChain(texts, self.backoff), texts, per_class, rng)
            drawn.append(made)
            avoided += thrown_away
            left += copies
        labels = interleaved_labels(info.num_classes, per_class)
        ids = TextTask(info).encode([text for row in zip(*drawn, strict=True) for text in row])
        provenance = tuple(Provenance(self.name, info.class_names[y], i) for i, y in enumerate(labels.tolist()))
        facts = {"markov.copies_avoided": float(avoided), "markov.copies": float(left)}
        return Samples(Labeled(ids, labels), provenance, facts=facts)

    def check(self, info: DataInfo, per_class: int) -> None:
        """There are public texts of every class. Raises ConfigError."""
        super().check(info, per_class)
        class_texts(info, self.path, "synthetic.markov.path")

    def fingerprint(self) -> str:
        """Content hash of the file of texts, or the version of what ships."""
        return digest(VERSION, sources_digest(self.path))


def _draw(chain: MarkovChain, texts: list[str], count: int, rng: np.random.Generator) -> tuple[list[str], int, int]:
    """``count`` texts; draws that were thrown away as copies; copies that are left."""
    sources = {" ".join(text.split()) for text in texts}
    made: list[str] = []
    taken, avoided, left = set(sources), 0, 0
    for _ in range(count):
        text = chain.draw(rng)
        draws = 1
        while text in taken and draws < MOST_DRAWS:
            text = chain.draw(rng)
            draws += 1
        avoided += draws - 1
        left += text in taken
        taken.add(text)
        made.append(text)
    return made, avoided, left
