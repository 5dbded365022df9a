"""A guide of texts: a sentence encoder that embeds texts and prompts of classes alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fedcrucible_core.foundation.cache import plain
from fedcrucible_core.foundation.cached_guide import CachedGuide
from fedcrucible_core.foundation.class_prompts import ClassPrompts

if TYPE_CHECKING:
    from fedcrucible_core.foundation.sentence_encoder import SentenceEncoder

SCALE = 20.0
"""What cosines are multiplied by where ``guide.scale`` says nothing (docs/choices.md#sentence-scale)."""


class SentenceGuide(CachedGuide):
    """Reads token ids back as texts and embeds those; the encoder is loaded only for what isn't in the cache."""

    def __init__(
        self,
        model: str,
        prompts: ClassPrompts,
        decode: Callable[[Tensor], list[str]],
        batch_size: int,
        cache: Path,
        device: torch.device,
        scale: float = 0.0,
    ) -> None:
        super().__init__(model, "sentence", prompts, cache, device)
        self.decode = decode
        self.batch_size = batch_size
        self._scale = scale or SCALE
        self._encoder: SentenceEncoder | None = None
        self._identity: str | None = None

    @property
    def identity(self) -> str:
        """Hash of the model's files, or ``name@commit`` of a hub model (fetched if it isn't here yet)."""
        if self._identity is None:
            from fedcrucible_core.foundation.sentence_encoder import known_identity

            self._identity = known_identity(self.model) or self._load().identity
        return self._identity

    @property
    def scale(self) -> float:
        """``guide.scale``, or 20."""
        return self._scale

    def embeddings(self, inputs: Tensor) -> Tensor:
        """L2-normalised float32 ``[n, e]`` on the guide's device, of token ids int64 ``[n, L]``.

        Raises:
            ValueError: another type or shape.
            ConfigError: the model is needed and can't be loaded.
        """
        if inputs.ndim != 2 or inputs.is_floating_point():
            raise ValueError(f"texts must be token ids [n, L], got {inputs.dtype} {tuple(inputs.shape)}")
        if not len(inputs):
            return self.text_embeddings(("nothing",))[:0]
        texts = self.decode(inputs.cpu())
        path = self._path("texts", f"{self.batch_size} a pass", *texts)
        found = self._read(path, (len(texts), -1))
        if found is None:
            found = self._embed_texts(texts)
            self._write(path, found)
        return found.to(self.device)

    def logits(self, embeddings: Tensor, text_embeddings: Tensor) -> Tensor:
        """``scale * cos`` ``[n, C]``."""
        return embeddings @ text_embeddings.T * self._scale

    def _embed_texts(self, texts: Sequence[str]) -> Tensor:
        return plain(self._load().texts(texts, self.batch_size))

    def _load(self) -> SentenceEncoder:
        if self._encoder is None:
            from fedcrucible_core.foundation.sentence_encoder import sentence_encoder

            self._encoder = sentence_encoder(self.model, self.device)
        return self._encoder
