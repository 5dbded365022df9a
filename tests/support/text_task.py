"""A small task of texts with the tokenizer and the public texts that ship."""

from __future__ import annotations

from fedcrucible_core.learning.data import DataInfo

TOPICS = DataInfo(
    "wn4",
    ("person", "animal", "artifact", "location"),
    (32,),
    (),
    (),
    task="text",
    tokenizer="wordnet",
    reserved=10,
)
