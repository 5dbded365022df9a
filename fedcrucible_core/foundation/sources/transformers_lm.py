"""Synthetic texts of a language model that runs in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar, Literal

import torch
from pydantic import Field

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.places import cache_folder
from fedcrucible_core.foundation.alteration import Alteration
from fedcrucible_core.foundation.answer_cache import AnswerCache
from fedcrucible_core.foundation.base import SOURCES, Samples, SyntheticSource
from fedcrucible_core.foundation.cache import arithmetic, files_digest, model_files
from fedcrucible_core.foundation.local_model import LocalModel
from fedcrucible_core.foundation.text_queries import TextQueries
from fedcrucible_core.learning.data import DataInfo

SECTION = "synthetic.transformers-lm"


@SOURCES.register("transformers-lm")
class TransformersLmSource(TextQueries, SyntheticSource):
    """Language model run locally by Hugging Face transformers: a hub name or a folder.

    A model that was made to answer messages (its tokenizer has a chat template) gets the same queries as ``llm``.  One
    that only continues text is shown examples and continues after ``class:``; the first line of each continuation is a
    text.  Such a model reads no instruction, so its query can't be altered.  Answers are kept in ``keep_dir``.
    """

    paper = ("li2024bdfmfl", "section III")
    choices = ("text-queries", "altered-queries")
    knowledge: ClassVar[tuple[str, ...]] = ("a language model that knows the classes",)
    offline: ClassVar[bool] = False
    obeys: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = ("text",)

    model: str = Field(
        "HuggingFaceTB/SmolLM2-1.7B-Instruct", description="Hugging Face hub name or folder of a causal language model"
    )
    style: Literal["auto", "chat", "continue"] = Field(
        "auto", description="chat: asks in messages; continue: lets it go on after examples; auto = by its tokenizer"
    )
    temperature: float = Field(1.0, ge=0.0, le=5.0, description="Sampling temperature; 0 = the likeliest token")
    top_p: float = Field(1.0, gt=0.0, le=1.0, description="Share (fraction) of the probability that tokens share")
    max_new_tokens: int = Field(2048, ge=1, le=100_000, description="Longest answer, or continuation, in tokens")
    keep_dir: str = Field("", description="Folder of answers; empty = FEDCRUCIBLE_CACHE or the user cache")

    def generate(self, info: DataInfo, per_class: int, seed: int, device: torch.device) -> Samples:
        """``per_class`` texts of every class, classes in turn; which request each came of is in the provenance.

        Raises:
            ConfigError: the model can't be loaded.
            SourceError: the model doesn't write what is asked for.
        """
        model = self._model(device)
        return self.ask(model, info, per_class, seed, self.name, None, continues=self._continues(model))

    def generate_altered(
        self, info: DataInfo, per_class: int, seed: int, device: torch.device, alteration: Alteration
    ) -> Samples:
        """The same of altered queries, and then every text with the trigger, as many as the model chose to write.

        Raises:
            ConfigError: the model can't be loaded, or reads no instructions.
            SourceError: the model doesn't write what is asked for.
        """
        model = self._model(device)
        if self._continues(model):
            allowed = "reads no instructions, so its queries can't be altered; allowed: a model with a chat template"
            raise ConfigError(f"{SECTION}.model", self.model, allowed)
        return self.ask(model, info, per_class, seed, self.name, alteration)

    def check(self, info: DataInfo, per_class: int) -> None:
        """Examples are there; nothing is loaded. Raises ConfigError."""
        super().check(info, per_class)
        self.shown_texts(info, SECTION)

    def fingerprint(self) -> str:
        """Content hash of the model's folder; empty for a hub name."""
        folder = Path(self.model).expanduser()
        return files_digest(model_files(folder)) if folder.is_dir() else ""

    def _model(self, device: torch.device) -> LocalModel:
        parameters = json.dumps([self.temperature, self.top_p, self.max_new_tokens, self.style])
        identity = ("local", self.model, self.fingerprint(), parameters, arithmetic(device))
        cache = AnswerCache(cache_folder(self.keep_dir) / "answers", identity)
        return LocalModel(
            self.model,
            f"{SECTION}.model",
            cache,
            device,
            max_tokens=self.max_new_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
        )

    def _continues(self, model: LocalModel) -> bool:
        return self.style == "continue" or (self.style == "auto" and not model.has_template)
