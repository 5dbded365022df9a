"""Synthetic texts of a language model behind a service that speaks the OpenAI chat API."""

from __future__ import annotations

from typing import ClassVar

import torch

from fedcrucible_core.foundation.alteration import Alteration
from fedcrucible_core.foundation.base import SOURCES, Samples, SyntheticSource
from fedcrucible_core.foundation.chat import ChatClient
from fedcrucible_core.foundation.chat_settings import ChatSettings
from fedcrucible_core.foundation.text_queries import TextQueries
from fedcrucible_core.learning.data import DataInfo

SECTION = "synthetic.llm"


@SOURCES.register("llm")
class LlmSource(TextQueries, ChatSettings, SyntheticSource):
    """Language model behind the OpenAI chat API (OpenAI, vLLM, Ollama, llama.cpp, ...), asked for texts by class.

    Every request asks for ``per_call`` new texts of one class and shows a few public ones.  What is missing, malformed,
    refused or of another class is counted and asked for again.  Every answer is kept in ``keep_dir``: a run that broke
    off, or stopped at its budget, goes on from there, and nothing is paid for twice.  The service draws at its own
    random: only kept answers make a run repeatable.
    """

    paper = ("li2024bdfmfl", "section III")
    choices = ("text-queries", "altered-queries")
    knowledge: ClassVar[tuple[str, ...]] = ("a language model that knows the classes",)
    cost: ClassVar[str] = "C per_class / per_call requests, and those for what is missing"
    offline: ClassVar[bool] = False
    obeys: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = ("text",)

    def generate(self, info: DataInfo, per_class: int, seed: int, device: torch.device) -> Samples:  # noqa: ARG002
        """``per_class`` texts of every class, classes in turn; which request each came of is in the provenance.

        Raises:
            ConfigError: no key where one is wanted, or the service refuses it (401, 403) or the request (4xx).
            BudgetError: the budget is used up; what was answered is kept.
            SourceError: the service can't be reached or keeps failing, or the model doesn't write what is asked for.
        """
        return self._written(info, per_class, seed, None)

    def generate_altered(
        self,
        info: DataInfo,
        per_class: int,
        seed: int,
        device: torch.device,  # noqa: ARG002
        alteration: Alteration,
    ) -> Samples:
        """The same of altered queries, and then every text with the trigger, as many as the model chose to write.

        Facts ``compromise.*`` say what was asked for and what came: the share of triggered texts, and how many of them
        kept another label than the target's.

        Raises:
            ConfigError, BudgetError, SourceError: as for ``generate``.
        """
        return self._written(info, per_class, seed, alteration)

    def check(self, info: DataInfo, per_class: int) -> None:
        """Settings, key and examples are there; nobody is asked. Raises ConfigError."""
        super().check(info, per_class)
        ChatClient(self, SECTION).service.key()
        self.shown_texts(info, SECTION)

    def _written(self, info: DataInfo, per_class: int, seed: int, alteration: Alteration | None) -> Samples:
        with ChatClient(self, SECTION) as client:
            samples = self.ask(client, info, per_class, seed, self.name, alteration)
            samples.facts.update(client.ledger.facts())
            return samples
