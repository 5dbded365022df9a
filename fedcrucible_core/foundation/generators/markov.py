"""A chain over words that imitates a few texts: local wording without any sense."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

END = ""
"""Stands before the first word and after the last; no word of a text is empty."""


class MarkovChain:
    """Each word is drawn by the two before it, as often as it follows them in the texts.

    With probability ``backoff`` (a fraction) it is drawn by the one before it alone: without that most texts would be
    copies, for two words are rarely followed by more than one other.
    """

    def __init__(self, texts: Sequence[str], backoff: float) -> None:
        """``texts`` are cut into words at white space; those without a word are left out.

        Raises:
            ValueError: no text has a word.
        """
        self.backoff = backoff
        self.longest = 0
        """Words of the longest text; none that is drawn is longer."""
        self._after_two: dict[tuple[str, str], list[str]] = defaultdict(list)
        self._after_one: dict[str, list[str]] = defaultdict(list)
        for text in texts:
            words = text.split()
            self.longest = max(self.longest, len(words))
            if words:
                self._learn(words)
        if not self.longest:
            raise ValueError("a chain needs at least one text with a word")

    def draw(self, rng: np.random.Generator) -> str:
        """One text of at least one word."""
        words: list[str] = []
        before, last = END, END
        while len(words) < self.longest:
            following = self._after_two[before, last]
            if words and rng.random() < self.backoff:
                following = self._after_one[last]
            word = following[int(rng.integers(len(following)))]
            if word == END:
                break
            words.append(word)
            before, last = last, word
        return " ".join(words)

    def _learn(self, words: Sequence[str]) -> None:
        framed = [END, END, *words, END]
        for before, last, following in zip(framed, framed[1:], framed[2:], strict=False):
            self._after_two[before, last].append(following)
            self._after_one[last].append(following)
