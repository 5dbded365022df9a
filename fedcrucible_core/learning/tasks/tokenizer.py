"""Texts to token ids and back: tokenizers by name, each loaded once per process."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.extras import install_hint
from fedcrucible_core.config.plain_text import first_line

KEY = "task.tokenizer"
SHIPPED = "wordnet"
PAD = 0
"""The id that fills up what is shorter, in every text of the project."""
GOES_ON = "##"
"""What a token begins with that continues the word before it."""

SPACING = tuple(
    (re.compile(pattern), written)
    for pattern, written in (
        (r" ([.,;:!?%)\]}])", r"\1"),
        (r"([(\[{$#]) ", r"\1"),
        (r"(\w) ' (s|t|d|m|re|ve|ll)\b", r"\1'\2"),
        (r"(\w) ([-/]) (?=\w)", r"\1\2"),
    )
)
"""Blanks that a tokenizer puts around punctuation, and what is written instead; it reads both alike."""


@dataclass(frozen=True)
class Tokenizer:
    """A WordPiece tokenizer (schuster2012wordpiece) of the ``tokenizers`` library.

    As in devlin2019bert, a text stands between one token before it and one after.
    """

    name: str
    backend: Any
    first: int
    """Id of the token before a text, [CLS]."""
    last: int
    """Id of the token after it, [SEP]."""

    @property
    def size(self) -> int:
        """Number of token ids, those of special tokens included."""
        size: int = self.backend.get_vocab_size()
        return size

    @cached_property
    def special(self) -> frozenset[int]:
        """Ids that stand for no part of a text: padding, frame, unknown, mask."""
        return frozenset({PAD, self.first, self.last, *self.backend.get_added_tokens_decoder()})

    @cached_property
    def ordinary(self) -> Tensor:
        """Ids int64 of tokens that are parts of texts, ascending."""
        return torch.tensor([token for token in range(self.size) if token not in self.special])

    @cached_property
    def goes_on(self) -> Tensor:
        """Bool ``[size]``: which tokens continue the word before them."""
        return torch.tensor([(self.backend.id_to_token(i) or "").startswith(GOES_ON) for i in range(self.size)])

    def ids(self, text: str) -> list[int]:
        """Token ids of a text without its frame; a special token's name in it is read as ordinary characters."""
        whole = text.encode(errors="replace").decode()  # halves of characters, which JSON can hold, are no text
        found: list[int] = self.backend.encode(whole, add_special_tokens=False).ids
        return found

    def text(self, ids: Sequence[int]) -> str:
        """The text that ids stand for, special ones left out, spaced as people write."""
        found: str = self.backend.decode(list(ids), skip_special_tokens=True)
        for pattern, written in SPACING:
            found = pattern.sub(written, found)
        return found


@lru_cache(maxsize=8)
def tokenizer_of(name: str) -> Tokenizer:
    """The tokenizer of a name: ``wordnet`` (ships), a folder with a ``tokenizer.json``, or a Hugging Face hub name.

    Raises:
        ConfigError: it can't be had, or isn't as BERT's: id 0 pads, one token stands before a text and one after.
    """
    try:
        import tokenizers
    except ModuleNotFoundError as error:
        raise ConfigError(KEY, name, install_hint("text")) from error
    try:
        file = _file(name)
        backend = tokenizers.Tokenizer.from_file(str(file)) if file else _from_hub(name)
    except ConfigError:
        raise
    except Exception as error:  # whatever goes wrong in loading, the user needs the same answer
        allowed = (
            f"can't be had ({first_line(error)}); allowed: {SHIPPED}, which ships, a folder with a tokenizer.json, "
        )
        raise ConfigError(KEY, name, allowed + "or a Hugging Face hub name where there is a network") from error
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True
    frame = backend.encode("").ids
    if len(frame) != 2 or PAD in frame or backend.id_to_token(PAD) not in ("[PAD]", "<pad>"):
        raise ConfigError(KEY, name, "needs a tokenizer as BERT's: id 0 pads, one token before a text and one after")
    return Tokenizer(name, backend, *frame)


def _file(name: str) -> Path | None:
    """The file that holds the tokenizer; None for a hub name."""
    if name == SHIPPED:
        from fedcrucible_assets import AssetMissingError, asset_path

        try:
            return asset_path("wordnet-tokenizer")
        except AssetMissingError as error:
            raise ConfigError(KEY, name, str(error)) from error
    place = Path(name).expanduser()
    if name.strip() and place.is_dir():
        place /= "tokenizer.json"
        if not place.is_file():
            raise ConfigError(KEY, name, "that folder holds no tokenizer.json")
        return place
    if name.startswith(("/", "~", ".", "\\")) or name.count("/") > 1 or not name.strip():
        raise ConfigError(KEY, name, f"no such folder; allowed: {SHIPPED}, a folder, a Hugging Face hub name")
    return None


def _from_hub(name: str) -> Any:
    """The fast tokenizer of a hub model, from the local cache where it lies there."""
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise ConfigError(KEY, name, install_hint("text")) from error
    load = partial(transformers.AutoTokenizer.from_pretrained, trust_remote_code=False)
    try:
        return load(name, use_fast=True, local_files_only=True).backend_tokenizer
    except OSError:
        return load(name, use_fast=True).backend_tokenizer
