"""The topics of WordNet's nouns as short texts, which ship with the package."""

from __future__ import annotations

import gzip
import json
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import torch

from fedcrucible_assets import AssetMissingError, asset_path
from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.datasets.base import DATASETS, READ_AS_IT_IS, DatasetSource, PublishedData, Reading
from fedcrucible_core.learning.datasets.texts import published_texts, text_info
from fedcrucible_core.learning.tasks.text import TextTask

LENGTH = 64
Documents = tuple[list[str], torch.Tensor]
"""Texts, and their labels int64 ``[n]``."""


class WordNetTopics(DatasetSource):
    """Documents "lemma: gloss" by the topic of their noun."""

    paper = ("miller1995wordnet", "lexicographer files of nouns; drawn and split by tools/make_wordnet.py")
    choices = ("wordnet-topics", "text-lengths", "reserved-tokens")
    ships: ClassVar[bool] = True
    topics: ClassVar[tuple[str, ...]] = ()
    """Class names in label order."""

    def read(self, root: Path, reading: Reading = READ_AS_IT_IS) -> PublishedData:  # noqa: ARG002
        """Read the shipped file; ``root`` is not used."""
        info = text_info(self.name, self.topics, reading, LENGTH)
        found = {split: self._documents(split) for split in ("train", "validation", "test")}
        texts = {split: documents for split, (documents, _) in found.items()}
        labels = {split: numbers for split, (_, numbers) in found.items()}
        return published_texts(info, texts, labels, train_is_stratified=True)

    def prepare(self, root: Path) -> None:
        """Nothing to do: the file ships with the package."""

    def public_slice(self, info: DataInfo) -> Labeled:
        """The shipped public documents, 250 of each topic: in none of the three splits."""
        texts, labels = self._documents("public")
        return Labeled(TextTask(info).encode(texts), labels)

    def _documents(self, split: str) -> Documents:
        try:
            file = asset_path("wordnet-texts")
        except AssetMissingError as error:
            raise ConfigError("task.dataset", self.name, str(error)) from error
        found = [(text, self.topics.index(topic)) for topic, text in _lines(file, split) if topic in self.topics]
        return [text for text, _ in found], torch.tensor([label for _, label in found])


@lru_cache(maxsize=8)
def _lines(file: Path, split: str) -> tuple[tuple[str, str], ...]:
    """Topic and text of each document of a split, in the file's order."""
    lines = map(json.loads, gzip.decompress(file.read_bytes()).decode().splitlines())
    return tuple((line["topic"], f"{line['lemma']}: {line['gloss']}") for line in lines if line["split"] == split)


@DATASETS.register("wn4")
class WordNet4(WordNetTopics):
    """4,600 training, 800 validation and 1,600 test glosses of WordNet 3.0, 4 topics; ships, no download.

    Topics are person, animal, artifact and location.  1,000 public documents are apart from all three.
    """

    topics: ClassVar[tuple[str, ...]] = ("person", "animal", "artifact", "location")


@DATASETS.register("wn6")
class WordNet6(WordNetTopics):
    """6,900 training, 1,200 validation and 2,400 test glosses of WordNet 3.0, 6 topics; ships, no download.

    The documents of ``wn4``, and those of the topics plant and food.  1,500 public documents are apart from all three.
    """

    topics: ClassVar[tuple[str, ...]] = (*WordNet4.topics, "plant", "food")
