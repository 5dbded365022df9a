"""A chat model as a guide of texts: its answers in words are its logits; it embeds nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor
from torch.nn import functional as F

from fedcrucible_core.foundation.asked_texts import Speaker
from fedcrucible_core.foundation.base import Guide, GuideTargets
from fedcrucible_core.foundation.chat_labels import ChatLabels

Opened = Callable[[], AbstractContextManager[Speaker]]
"""Opens what answers, for one set of questions."""


class ChatGuide(Guide):
    """Asks which class each text is of, and how sure the model is.

    Logits are logarithms of the probabilities that it names.  In the place of embeddings stand these probabilities,
    L2-normalised, and for the classes the unit vectors: what needs a real embedding (guide-density, a probe, purifiers)
    learns no more from them.
    """

    def __init__(
        self,
        opened: Opened,
        decode: Callable[[Tensor], list[str]],
        class_names: Sequence[str],
        device: torch.device,
        identity: str,
    ) -> None:
        self.opened = opened
        self.decode = decode
        self.class_names = tuple(class_names)
        self.device = device
        self._identity = identity

    @property
    def identity(self) -> str:
        """Service and model by name: what answers behind them can't be hashed."""
        return self._identity

    def embeddings(self, inputs: Tensor) -> Tensor:
        """Probabilities that the model names for token ids ``[n, L]``, L2-normalised float32 ``[n, C]``.

        Raises:
            SourceError: the service fails, or the budget is used up; what was answered is kept.
        """
        return F.normalize(self._asked(inputs, self.class_names).softmax(1), dim=1)

    def text_embeddings(self, class_names: Sequence[str]) -> Tensor:
        """Unit vectors ``[C, C]``."""
        return torch.eye(len(class_names), device=self.device)

    def logits(self, embeddings: Tensor, text_embeddings: Tensor) -> Tensor:
        """Cosines ``[n, C]``; :meth:`targets` has the logits that the answers come to."""
        return embeddings @ text_embeddings.T

    def targets(self, inputs: Tensor, class_names: Sequence[str]) -> GuideTargets:
        """One set of questions; logits are log probabilities."""
        logits = self._asked(inputs, class_names)
        return GuideTargets(F.normalize(logits.softmax(1), dim=1), self.text_embeddings(class_names), logits)

    def _asked(self, inputs: Tensor, class_names: Sequence[str]) -> Tensor:
        if not len(inputs):
            return torch.zeros(0, len(class_names), device=self.device)
        with self.opened() as speaker:
            return ChatLabels(speaker).classify(self.decode(inputs.cpu()), class_names).to(self.device)
