"""Classification of texts, as token ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.tasks.base import Task, register
from fedcrucible_core.learning.tasks.tokenizer import PAD, Tokenizer, tokenizer_of

Place = Literal["end", "start", "random"]
"""Where words are put into a text; ``random`` is before a word of it or at its end."""


@dataclass(frozen=True)
class TextTask(Task):
    """Token ids int64 ``[n, L]``: one token before a text, its own, one after, then 0 to the end.

    A text is cut to L - 2 - ``info.reserved`` tokens, in training and test alike: what a trigger of that many tokens
    adds always fits, so no triggered text loses its trigger (docs/choices.md#reserved-tokens).
    """

    noun: ClassVar[str] = "text"

    @property
    def length(self) -> int:
        """L, tokens of one input."""
        return self.info.shape[0]

    @property
    def room(self) -> int:
        """Tokens of its own that a text may have."""
        return self.length - 2 - self.info.reserved

    @property
    def form(self) -> str:
        """Length, what is kept free of it, and the tokenizer."""
        return f"of {self.length} tokens by {self.info.tokenizer}, {self.info.reserved} kept free"

    @property
    def tokenizer(self) -> Tokenizer:
        """The data set's tokenizer. Raises ConfigError where it can't be had."""
        return tokenizer_of(self.info.tokenizer)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Token ids int64 ``[n, L]``, each text cut to ``room`` tokens."""
        tokenizer = self.tokenizer
        ids = torch.full((len(texts), self.length), PAD, dtype=torch.int64)
        for row, text in enumerate(texts):
            own = [tokenizer.first, *tokenizer.ids(text)[: self.room], tokenizer.last]
            ids[row, : len(own)] = torch.tensor(own)
        return ids

    def decode(self, ids: Tensor) -> list[str]:
        """Readable texts of ids ``[n, L]``: as the tokenizer spells them, so lower case where that is all it knows."""
        return [self.tokenizer.text(row) for row in ids.tolist()]

    def full(self, ids: Tensor) -> Tensor:
        """Bool ``[n]``: which texts ``[n, L]`` have all the tokens that :meth:`encode` leaves a text, or more."""
        return ids[:, self.room + 1] != PAD

    def random_inputs(self, n: int, rng: torch.Generator) -> Tensor:
        """Texts of ``room`` random tokens, drawn evenly from all that are no special ones."""
        ordinary = self.tokenizer.ordinary
        ids = torch.full((n, self.length), PAD, dtype=torch.int64)
        ids[:, 0], ids[:, self.room + 1] = self.tokenizer.first, self.tokenizer.last
        ids[:, 1 : self.room + 1] = ordinary[torch.randint(len(ordinary), (n, self.room), generator=rng)]
        return ids

    def words(self, text: str) -> Tensor:
        """Token ids int64 ``[k]`` of words that are to be put into texts.

        Raises:
            ConfigError: (``task.reserved_tokens``) they are more tokens than every text has kept free.
        """
        found = self.tokenizer.ids(text)
        if len(found) > self.info.reserved:
            allowed = f"{text!r} takes {len(found)} tokens and would be cut off long texts; allowed: at least that many"
            raise ConfigError("task.reserved_tokens", self.info.reserved, allowed)
        return torch.tensor(found, dtype=torch.int64)

    def insert(
        self,
        ids: Tensor,
        words: Tensor,
        place: Place = "end",
        rng: torch.Generator | None = None,
        together: Sequence[Tensor] = (),
    ) -> Tensor:
        """Texts ``[n, L]`` with ``words`` ``[k]`` put into each; a new tensor.

        ``random`` needs ``rng``: a text's place follows from one draw for all and from its own tokens, whatever texts
        are beside it; it is within none of ``together``, tokens that were put in before.  Texts with less room than
        they need (others have added words before) lose what is at their end, never the words.

        Raises:
            ValueError: the words are longer than any text can be.
        """
        n, k = len(ids), len(words)
        most = self.length - 2 - k
        if most < 0:
            raise ValueError(f"{k} tokens don't fit into texts of {self.length}")
        own = ((ids != PAD).sum(1) - 2).clamp(0, most)
        at = 1 + self._before(ids, own, place, rng, together)[:, None]
        steps = torch.arange(self.length, device=ids.device).expand(n, -1)
        behind = ids.gather(1, (steps - k).clamp(min=0))
        added = words.to(ids.device)[(steps - at).clamp(0, max(k - 1, 0))] if k else ids
        made = torch.where(steps < at, ids, torch.where(steps < at + k, added, behind))
        end = 1 + own[:, None] + k
        return made.where(steps < end, PAD).masked_fill(steps == end, self.tokenizer.last)

    def _before(
        self, ids: Tensor, own: Tensor, place: Place, rng: torch.Generator | None, together: Sequence[Tensor]
    ) -> Tensor:
        """How many of each text's own tokens (``own``, int64 ``[n]``) stand before what is put in."""
        if place == "start":
            return torch.zeros_like(own)
        if place == "end":
            return own
        if rng is None:
            raise ValueError("a random place needs a generator")
        spots = torch.arange(self.length - 1, device=ids.device)
        at_word = ~self.tokenizer.goes_on.to(ids.device)[ids[:, 1:]]
        free = (spots < own[:, None]) & at_word | (spots == own[:, None])
        for tokens in together:
            found = self._occurrences(ids, tokens)
            for inside in range(len(tokens) - 1):
                free[:, inside : inside + found.shape[1]] &= ~found
        factors = torch.randint(1, 2**62, (self.length,), generator=rng).to(ids.device)
        mixed = (ids * factors).sum(1)  # a hash of each text: products wrap round, and mix best in the high bits
        chosen = (mixed >> 32 & 0x7FFF_FFFF) % free.sum(1)
        return (free.cumsum(1) > chosen[:, None]).to(torch.uint8).argmax(1)

    def holds(self, ids: Tensor, words: Tensor) -> Tensor:
        """Bool ``[n]``: which texts ``[n, L]`` hold ``words`` ``[k]`` in one piece."""
        k = len(words)
        if not k:
            return torch.ones(len(ids), dtype=torch.bool, device=ids.device)
        if k > self.length:
            return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        return self._occurrences(ids, words).any(1)

    @staticmethod
    def _occurrences(ids: Tensor, words: Tensor) -> Tensor:
        """Bool ``[n, L - k + 1]``: where ``words`` ``[k]`` begin."""
        return (ids.unfold(1, len(words), 1) == words.to(ids.device)).all(2)


register("text", TextTask)
