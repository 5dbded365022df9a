"""DistilBERT classifiers: a tiny one from scratch, and pretrained weights by hub name or folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.extras import install_hint, missing
from fedcrucible_core.config.plain_text import first_line
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.models.base import MODELS, ModelSpec, SplitModel
from fedcrucible_core.learning.tasks.tokenizer import PAD, tokenizer_of

SOURCE = "model.distilbert.source"
GROUP = 16
"""Texts that a CPU encodes at a time."""


class FirstState(nn.Module):
    """An encoder's state of the first token ([CLS]), then linear layer, ReLU and dropout.

    Padding is masked.  On a CPU a batch is encoded in groups of texts of like length, each cut to its longest, so that
    short texts cost little; elsewhere it is cut to its longest text and encoded at once.
    """

    def __init__(self, encoder: nn.Module, width: int, dropout: float, *, frozen: bool = False) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(not frozen)
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout))
        self.frozen = frozen

    def train(self, mode: bool = True) -> FirstState:
        """Training mode; a frozen encoder stays as at test time."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def forward(self, ids: Tensor) -> Tensor:
        """Features ``[n, width]`` of token ids ``[n, L]``."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            states = self._by_length(ids) if ids.device.type == "cpu" else self._first(ids)
        features: Tensor = self.head(states)
        return features

    def _by_length(self, ids: Tensor) -> Tensor:
        order = (ids != PAD).sum(1).argsort(stable=True)
        groups = order.tensor_split(max(1, len(ids) // GROUP))
        return torch.cat([self._first(ids[rows]) for rows in groups])[order.argsort()]

    def _first(self, ids: Tensor) -> Tensor:
        ids = without_padding(ids)
        mask = ids != PAD
        mask[:, 0] = True  # the first token is read even of a text that holds nothing
        states: Tensor = self.encoder(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return states[:, 0]


def without_padding(ids: Tensor) -> Tensor:
    """Token ids ``[n, L]`` without the columns behind the longest text; at least one column is left."""
    used = (ids != PAD).any(0).nonzero()
    return ids[:, : int(used[-1]) + 1 if len(used) else 1]


class _DistilBert(ModelSpec):
    """What both have in common."""

    task = "text"
    dropout: float = Field(0.1, ge=0.0, lt=1.0, description="Dropout (fraction) of states and of the features")
    attention_dropout: float = Field(0.1, ge=0.0, lt=1.0, description="Dropout (fraction) of attention weights")

    def check(self, info: DataInfo) -> None:
        """Raise ConfigError for inputs of another kind, or where transformers isn't installed."""
        super().check(info)
        if missing("text"):
            raise ConfigError("model.name", self.name, install_hint("text"))


@MODELS.register("distilbert-tiny")
class TinyDistilBert(_DistilBert):
    """DistilBERT's architecture in small, from scratch: 1.45 million parameters with a vocabulary of 8,000.

    The state of [CLS] goes through a linear layer, ReLU and dropout to the output layer.
    """

    paper = ("sanh2019distilbert", "reduced, not distilled")
    choices = ("text-model",)
    width: int = Field(128, ge=4, le=4096, description="Dimension of token states and features; a multiple of heads")
    layers: int = Field(2, ge=1, le=24, description="Transformer layers")
    heads: int = Field(4, ge=1, le=64, description="Attention heads of each layer")
    hidden: int = Field(512, ge=4, le=16_384, description="Units of each layer's feed-forward part")

    def check(self, info: DataInfo) -> None:
        """Raise ConfigError for inputs of another kind, or a width that heads can't share."""
        super().check(info)
        if self.width % self.heads:
            raise ConfigError(f"model.{self.name}.width", self.width, f"a multiple of heads = {self.heads}")

    def make(self, info: DataInfo) -> SplitModel:
        """Build for a data set: its tokenizer's vocabulary, as many positions as its texts have."""
        import transformers

        config = transformers.DistilBertConfig(
            vocab_size=tokenizer_of(info.tokenizer).size,
            max_position_embeddings=info.shape[0],
            dim=self.width,
            n_layers=self.layers,
            n_heads=self.heads,
            hidden_dim=self.hidden,
            dropout=self.dropout,
            attention_dropout=self.attention_dropout,
            pad_token_id=PAD,
        )
        encoder = transformers.DistilBertModel(config)
        return SplitModel(FirstState(encoder, self.width, self.dropout), self.width, info)


@MODELS.register("distilbert")
class DistilBert(_DistilBert):
    """Pretrained DistilBERT by hub name or folder, fine-tuned whole or only behind the encoder.

    The state of [CLS] goes through a linear layer, ReLU and dropout to the output layer.  Every machine of a
    deployment needs the same weights.  A frozen encoder is never sent, and drops nothing out.
    """

    paper = (("sanh2019distilbert", ""), ("li2024bdfmfl", "datasets and models"))
    choices = ("text-model",)
    source: str = Field(
        "distilbert/distilbert-base-uncased", description="Hugging Face hub name or folder of a DistilBERT model"
    )
    frozen_encoder: bool = Field(False, description="Train the layers behind the encoder alone")

    def check(self, info: DataInfo) -> None:
        """Raise ConfigError for inputs of another kind, or texts that another tokenizer made."""
        super().check(info)
        if info.tokenizer == self.source:
            return
        try:
            own = tokenizer_of(self.source)
        except ConfigError as error:
            raise ConfigError(SOURCE, self.source, f"its tokenizer: {error.allowed}") from error
        if own.backend.get_vocab() != tokenizer_of(info.tokenizer).backend.get_vocab():
            allowed = f"its tokenizer isn't that of the texts, {info.tokenizer}; set task.tokenizer to the same"
            raise ConfigError(SOURCE, self.source, allowed)

    def make(self, info: DataInfo) -> SplitModel:
        """Load the encoder; the rest is drawn from torch's current generator.

        Raises:
            ConfigError: there is no such model, it is none of DistilBERT's, or texts are longer than it takes.
        """
        encoder = self._encoder()
        width, longest = encoder.config.dim, encoder.config.max_position_embeddings
        if info.shape[0] > longest:
            raise ConfigError(
                SOURCE, self.source, f"takes texts of {longest} tokens at most, these have {info.shape[0]}"
            )
        return SplitModel(FirstState(encoder, width, self.dropout, frozen=self.frozen_encoder), width, info)

    def _encoder(self) -> Any:
        """The pretrained encoder, with this specification's dropout."""
        import transformers

        folder = Path(self.source).expanduser()
        place = str(folder) if folder.is_dir() else self.source
        try:
            config = transformers.AutoConfig.from_pretrained(place, trust_remote_code=False)
            if config.model_type != "distilbert":
                raise ValueError(f"it is a model of type {config.model_type}")
            config.dropout, config.attention_dropout = self.dropout, self.attention_dropout
            kind = transformers.DistilBertModel
            with _quietly():
                encoder, found = kind.from_pretrained(place, config=config, output_loading_info=True)
            if lacking := sorted(found["missing_keys"]):
                raise ValueError(f"it has no {lacking[0]}")
        except Exception as error:  # whatever goes wrong in loading, the user needs the same answer
            allowed = "allowed: a Hugging Face hub name, or a folder, of a DistilBERT model"
            raise ConfigError(SOURCE, self.source, f"can't be had ({first_line(error)}); {allowed}") from error
        return encoder.float()


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without transformers' bars and its report of the weights that an encoder doesn't need."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
