"""A guide whose embeddings are computed once and kept on disk by content."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from fedcrucible_core.foundation.base import Guide
from fedcrucible_core.foundation.cache import (
    arithmetic,
    digest,
    plain,
    read_tensors,
    usable,
    warn_unusable,
    write_tensors,
)
from fedcrucible_core.foundation.class_prompts import ClassPrompts

VERSION = "2"
"""Part of every key: raise it when embeddings of the same input would change."""


class CachedGuide(Guide):
    """Keeps embeddings under ``<cache>/guide`` by the model's identity, the content, and all that their last bits need.

    That is: samples per forward pass, threads, device, versions.  So what is found there is what would be computed,
    whoever filled the cache.
    """

    def __init__(self, model: str, family: str, prompts: ClassPrompts, cache: Path, device: torch.device) -> None:
        self.model = model
        self.family = family
        self.prompts = prompts
        self.cache = cache / "guide"
        self.device = device

    def text_embeddings(self, class_names: Sequence[str]) -> Tensor:
        """L2-normalised float32 ``[C, e]`` on the guide's device: the normalised mean over each class's prompts."""
        names = tuple(class_names)
        if not names:
            raise ValueError("text_embeddings needs at least one class name")
        prompts = [self.prompts.of(name) for name in names]
        path = self._path("text", *("\n".join(of_class) for of_class in prompts))
        found = self._read(path, (len(names), -1))
        if found is None:
            each = self._embed_texts([prompt for of_class in prompts for prompt in of_class])
            means = [part.mean(dim=0) for part in torch.split(each, [len(of_class) for of_class in prompts])]
            found = plain(F.normalize(torch.stack(means), dim=-1))
            self._write(path, found)
        return found.to(self.device)

    @abstractmethod
    def _embed_texts(self, texts: Sequence[str]) -> Tensor:
        """L2-normalised float32 ``[n, e]`` on the CPU, computed now."""

    def _path(self, kind: str, *content: str | Tensor) -> Path:
        computed = f"{arithmetic(self.device)}, transformers {metadata.version('transformers')}"
        key = digest(VERSION, kind, self.identity, self.family, computed, *content)
        return self.cache / f"{kind}-{key}.safetensors"

    def _read(self, path: Path, shape: tuple[int, ...]) -> Tensor | None:
        content = read_tensors(path)
        if content is None:
            return None
        embeddings = content[0].get("embeddings")
        if embeddings is None or not usable(embeddings, shape):
            warn_unusable(path, "unexpected content")
            return None
        return embeddings

    def _write(self, path: Path, embeddings: Tensor) -> None:
        write_tensors(path, {"embeddings": embeddings})
