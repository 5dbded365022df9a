"""The settings of sources that ask a language model for texts, and the way from its words to samples."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from fedcrucible_core.config import Component
from fedcrucible_core.foundation.alteration import Alteration
from fedcrucible_core.foundation.asked_texts import Speaker, TextCollection, WrittenText, find_words
from fedcrucible_core.foundation.base import Provenance, Samples
from fedcrucible_core.foundation.public_texts import class_texts
from fedcrucible_core.foundation.text_prompts import TextPrompts
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.tasks.text import Place, TextTask


class TextQueries(Component):
    """What a language model is asked for, and how often."""

    about: str = Field("", description="What kind of texts are wanted, in words; empty = as the data set has them")
    per_call: int = Field(50, ge=1, le=1000, description="Texts asked for in one request")
    tries: int = Field(8, ge=0, le=100, description="Times that what is missing is asked for again")
    examples: int = Field(3, ge=0, le=100, description="Public texts of the class shown in a request")
    examples_path: str = Field(
        "", description="JSON-lines file of such texts with text and label; empty = the data set's public slice, if any"
    )

    def shown_texts(self, info: DataInfo, section: str) -> list[list[str]]:
        """The texts that may be shown, by class; none where the data set has no public slice. Raises ConfigError."""
        if not self.examples:
            return [[] for _ in info.class_names]
        return class_texts(info, self.examples_path, f"{section}.examples_path", needed=bool(self.examples_path))

    def ask(
        self,
        speaker: Speaker,
        info: DataInfo,
        per_class: int,
        seed: int,
        name: str,
        alteration: Alteration | None,
        *,
        continues: bool = False,
    ) -> Samples:
        """``per_class`` texts of every class; with an alteration also those that hold its trigger, marked.

        ``continues``: the speaker doesn't answer messages, it goes on after what it is shown.

        Raises:
            ConfigError: the trigger is longer than what texts keep free (``task.reserved_tokens``).
            SourceError: the model doesn't write enough.
        """
        words = None if alteration is None else TextTask(info).words(alteration.trigger)
        texts = self.shown_texts(info, f"synthetic.{name}")
        prompts = TextPrompts(info, self.about, alteration, continues)
        collection = TextCollection(prompts, per_class, self.per_call, self.tries, texts, self.examples, seed)
        collection.fill(speaker)
        written = collection.written()
        labels = torch.tensor([text.label for text in written])
        ids = TextTask(info).encode([text.text for text in written])
        mark: Tensor | None = None
        if alteration is not None and words is not None:
            mark = torch.tensor([text.triggered for text in written], dtype=torch.bool)
            ids = _holding(ids, written, info, alteration, words)
        provenance = tuple(Provenance(name, text.request, i) for i, text in enumerate(written))
        return Samples(Labeled(ids, labels), provenance, mark, collection.facts())


def _holding(
    ids: Tensor, written: Sequence[WrittenText], info: DataInfo, alteration: Alteration, words: Tensor
) -> Tensor:
    """The same ids, but texts that lost their trigger when they were cut hold it in the tokens kept free for it.

    The trigger stays as the model spelled it, unless only ``words`` fit into these tokens.
    """
    task = TextTask(info)
    place: Place = "start" if alteration.place == "start" else "end"
    made = ids.clone()
    for row, text in enumerate(written):
        span = find_words(text.text, alteration.trigger) if text.triggered else None
        if span is None:
            continue
        spelled = torch.tensor(task.tokenizer.ids(text.text[slice(*span)]), dtype=torch.int64)
        if not bool(task.holds(ids[row : row + 1], spelled)):
            body = task.encode([f"{text.text[: span[0]]} {text.text[span[1] :]}"])
            made[row] = task.insert(body, spelled if len(spelled) <= info.reserved else words, place)[0]
    return made
