"""A model of texts for tests that are about something else: the mean of word vectors, then one linear layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from torch import nn

from fedcrucible_core.config.compose import run_config_type
from fedcrucible_core.config.load import default_keys
from fedcrucible_core.config.registry import Registry
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.models.base import MODELS, ModelSpec, SplitModel
from fedcrucible_core.learning.tasks.tokenizer import PAD, tokenizer_of


class Words(ModelSpec):
    """The mean of word vectors, then one linear layer; the mask is made of the ids."""

    task = "text"

    def make(self, info: DataInfo) -> SplitModel:
        return SplitModel(nn.EmbeddingBag(tokenizer_of(info.tokenizer).size, 8, mode="mean", padding_idx=PAD), 8, info)


@contextmanager
def registered(*more: tuple[Registry[Any], str, type]) -> Iterator[None]:
    """Have the model ``words``, and other components, for a while."""
    caches = (run_config_type, default_keys)
    with pytest.MonkeyPatch.context() as patch:
        for registry, name, cls in ((MODELS, "words", Words), *more):
            list(registry)  # loads its own first
            patch.setitem(registry._classes, name, cls)
            patch.setattr(cls, "name", name)
        for cache in caches:
            getattr(cache, "cache_clear", lambda: None)()
        yield
    for cache in caches:
        getattr(cache, "cache_clear", lambda: None)()
