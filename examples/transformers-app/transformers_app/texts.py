"""The texts: glosses of WordNet 3.0 by the topic of their noun, which ship with FedCrucible."""

from __future__ import annotations

import gzip
import json
from functools import cache

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from fedcrucible_assets import asset_path

TOPICS = ("person", "animal", "artifact", "location")
LENGTH = 32
"""Tokens of a text; longer ones are cut."""
Texts = tuple[tuple[str, ...], Tensor]
"""Texts, and their topics int64 ``[n]``."""


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """The WordPiece tokenizer that ships: 8,000 tokens, lower case."""
    return PreTrainedTokenizerFast(tokenizer_file=str(asset_path("wordnet-tokenizer")), pad_token="[PAD]")


@cache
def split(name: str) -> Texts:
    """The texts of a split: train (4,600), test (1,600), or public (1,000), which no client holds."""
    lines = map(json.loads, gzip.decompress(asset_path("wordnet-texts").read_bytes()).splitlines())
    found = [line for line in lines if line["split"] == name and line["topic"] in TOPICS]
    texts = tuple(f"{line['lemma']}: {line['gloss']}" for line in found)
    return texts, torch.tensor([TOPICS.index(line["topic"]) for line in found])


def load_data(partition_id: int, num_partitions: int, examples: int) -> Texts:
    """The texts of one client, at most ``examples``: every ``num_partitions``-th one of the training set."""
    texts, topics = split("train")
    return texts[partition_id::num_partitions][:examples], topics[partition_id::num_partitions][:examples]
