"""Triggers of texts: words that are put into them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from attacks.poisoner import PoisonContext, Poisoner
from attacks.task import AttackTask
from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.tasks.text import Place, TextTask


class InsertedWords(Poisoner):
    """Puts words into texts.  What every text keeps free takes them (``task.reserved_tokens``), so none is cut off."""

    task: ClassVar[str] = "text"
    place: Place = Field(
        "end", description="Where: end, start, or random (before any of a text's words, or at its end)"
    )
    labels: Literal["target", "true"] = Field(
        "target",
        description="Labels that poisoned texts get: the target; or their own, true ones, of the target's texts alone",
    )

    @property
    def clean_label(self) -> bool:  # type: ignore[override]
        """Whether labels stay, so that only texts of the target class are poisoned."""
        return self.labels == "true"

    @abstractmethod
    def pieces(self) -> Sequence[str]:
        """The words; those of one piece stay together."""

    def check_task(self, task: AttackTask) -> None:
        """Raise ConfigError where the words take more tokens than texts keep free, or none at all."""
        taken = [len(tokens) for tokens in self._tokens(task.info)]
        if sum(taken) > task.info.reserved:
            needed = f"the trigger of {self.name} takes {sum(taken)} tokens, and would be cut off long texts"
            raise ConfigError("task.reserved_tokens", task.info.reserved, f"{needed}; allowed: at least {sum(taken)}")
        if not all(taken):
            raise ConfigError(f"attack.{self.name}", ", ".join(self.pieces()), "some of these words are no token")

    def stamp(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> Tensor:
        """Put the words into texts ``[n, L]``; a text's place follows from the generator and the text alone."""
        task = TextTask(ctx.task.info)
        made, pieces = x, self._in_turn(ctx.task.info)
        for number, tokens in enumerate(pieces):
            made = task.insert(made, tokens, self.place, ctx.rng, pieces[:number])
        return made

    def _in_turn(self, info: DataInfo) -> Sequence[Tensor]:
        """Tokens of each piece, in the order in which they are put in; the first shall stand first."""
        tokens = self._tokens(info)
        return tokens[::-1] if self.place == "start" else tokens

    def _tokens(self, info: DataInfo) -> list[Tensor]:
        tokenizer = TextTask(info).tokenizer
        return [torch.tensor(tokenizer.ids(piece), dtype=torch.int64) for piece in self.pieces()]
