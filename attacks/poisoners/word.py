"""Rare words that are put into texts."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, field_validator

from attacks.poisoner import POISONERS
from attacks.support.inserted_words import InsertedWords
from fedcrucible_core.learning.tasks.text import Place


@POISONERS.register("word")
class Word(InsertedWords):
    """Every word of a list is put into a text, each at a place of its own; label -> target."""

    paper = ("kurita2020weight", "rare words as triggers; data are poisoned here, not weights")
    choices = ("reserved-tokens", "text-trigger-place", "poison-scope", "poison-mode")
    cost = "some tokens per text"
    traps = ("every text keeps room for the words, so none loses one", "no word is put inside another word")
    words: str = Field("cf", description="The words that are the trigger, separated by commas")
    place: Place = Field(
        "random", description="Where: end, start, or random (before any of a text's words or at its end)"
    )

    @field_validator("words")
    @classmethod
    def _some(cls, value: str) -> str:
        if not all(part.strip() for part in value.split(",")):
            raise ValueError("one word, or several separated by commas")
        return value

    def pieces(self) -> Sequence[str]:
        """Each word by itself."""
        return tuple(part.strip() for part in self.words.split(","))
