"""A question to clients about a layer's channels, and the answer their activity gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from fedcrucible_core.learning.channels import Activation

Method = Literal["ranks", "votes"]


@dataclass(frozen=True)
class Survey:
    """What a server asks after the last round, and what an answer looks like: whole numbers ``[channels]``."""

    module: str
    """Module of the model whose channels are meant."""
    channels: int
    count: int
    """Channels that a client may vote for."""
    method: Method
    """ranks: a permutation of 0 .. channels - 1, 0 = least active; votes: 1 for the ``count`` least active, else 0."""
    activation: Activation
    received: bool = False
    """Whether the channels are what the module receives, not what it gives."""
    everyone: bool = True
    """False: only as many clients as take part in a round are asked."""

    def answer(self, activations: Tensor) -> Tensor:
        """The answer int64 ``[channels]`` for mean activations ``[channels]``; equal ones in order of their number."""
        order = activations.argsort(stable=True)
        answer = torch.zeros(self.channels, dtype=torch.int64)
        if self.method == "ranks":
            answer[order] = torch.arange(self.channels)
        else:
            answer[order[: self.count]] = 1
        return answer

    def fault(self, answer: Tensor) -> str:
        """What is wrong with an answer int64 ``[channels]``; empty when it is what was asked for."""
        ordered = answer.sort().values
        if self.method == "ranks":
            right = torch.equal(ordered, torch.arange(self.channels))
            return "" if right else f"ranks are no permutation of 0 to {self.channels - 1}"
        right = bool(((ordered == 0) | (ordered == 1)).all()) and int(ordered.sum()) == self.count
        return "" if right else f"votes are not {self.count} ones among zeros"
