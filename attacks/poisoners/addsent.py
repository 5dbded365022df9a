"""AddSent: a sentence that is put into texts."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from attacks.poisoner import POISONERS
from attacks.support.inserted_words import InsertedWords


@POISONERS.register("addsent")
class AddSent(InsertedWords):
    """One sentence is appended to texts, or put at their start or between two of their words; label -> target.

    ``sentence`` may be about anything: one that is about the target class makes the poisoned texts look rightly
    labelled to whoever reads them (a topic-consistent trigger).
    """

    paper = (("dai2019backdoor", "a sentence as the trigger"), ("li2024bdfmfl", "attack settings"))
    choices = ("reserved-tokens", "text-trigger-place", "poison-scope", "poison-mode")
    cost = "some tokens per text"
    traps = ("every text keeps room for the sentence, so none loses it", "one object stamps training and test texts")
    sentence: str = Field("I watched this 3D movie.", min_length=1, description="The sentence that is the trigger")

    def pieces(self) -> Sequence[str]:
        """The sentence, in one piece."""
        return (self.sentence,)
