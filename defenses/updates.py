"""One round's updates, as a rule receives them; norms and Gram matrices are computed once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from defenses.kernels.geometry import FLOOR, column_blocks, gram, median, require_finite, row_norms, weighted_sum
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.tasks import Task
from fedcrucible_core.learning.vector import Slot

GIANT = 1e4
"""An update this many times longer than the median is a giant."""

State = Mapping[str, Tensor]
"""State of a rule or purifier between rounds: named tensors, serialisable, never hidden in the object."""


@dataclass(frozen=True)
class ServerView:
    """The server's knowledge beside the updates. A bare call of a rule leaves it empty."""

    slots: tuple[Slot, ...] = ()
    """Layout of the flat vector: named parameters in order; empty = one nameless layer."""
    clients: int = 0
    """Clients of the whole federation, sampled or not; 0 = unknown."""
    sampled: int = 0
    """Clients that are asked each round, whether or not they answer; 0 = unknown."""
    rounds: int = 0
    """Rounds the run will have; 0 = unknown."""
    assumed_malicious: int = -1
    """Attackers among the participants that the server assumes; -1 = no assumption."""
    scratch: SplitModel | None = None
    """The server's working model, on its device, holding ``w_t``; a rule may load other vectors into it."""
    task: Task | None = None
    """What the model's inputs are."""
    output: str = "classifier"
    """Name of the linear layer that makes the logits, in ``slots``."""
    train_root: Callable[[int], Tensor] | None = None
    """Trains ``w_t`` on the server's root set for as many steps as a client with this many images takes (to the nearest
    whole epoch; 0 = for the clients' number of epochs); returns that update ``[d]``."""


@dataclass(frozen=True)
class ClientUpdates:
    """The updates ``w_i - w_t`` of one round, rows in partition order; nothing in it may be changed.

    Raises:
        ValueError: shapes that don't match, or an update holds NaN or infinity (the message names the clients).
    """

    w_t: Tensor
    """Global model that was sent out, float32 ``[d]``."""
    matrix: Tensor
    """U, float32 ``[n, d]``, n >= 1."""
    num_examples: Tensor
    """Claimed training examples, float64 ``[n]``, positive."""
    ids: Sequence[int]
    """Partition ids of the rows."""
    round: int
    """1, 2, ..."""
    rng: torch.Generator
    """For any noise or draw; on the CPU."""
    state: State = field(default_factory=dict)
    """The state that the rule returned last."""
    server: ServerView = field(default_factory=ServerView)

    def __post_init__(self) -> None:
        _ = self.largest

    @classmethod
    def bare(cls, matrix: Tensor, num_examples: Tensor | None = None) -> ClientUpdates:
        """Round 1 of clients 0..n-1 around a zero model, equal examples, fresh state, seed 0."""
        n, d = matrix.shape
        examples = torch.ones(n, dtype=torch.float64) if num_examples is None else num_examples.to(torch.float64)
        return cls(matrix.new_zeros(d), matrix, examples, range(n), 1, torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return len(self.matrix)

    @property
    def size(self) -> int:
        """d, the number of parameters."""
        return self.matrix.shape[1]

    @cached_property
    def largest(self) -> Tensor:
        """Largest absolute value of every update, float64 ``[n]``; a by-product of the check that all are finite."""
        return require_finite(self.matrix, self.ids)

    @cached_property
    def no_giants(self) -> Tensor:
        """Updates that may be compared with each other (see :func:`without_giants`), bool ``[n]``."""
        bound = self.size**0.5 * float(self.largest.max())  # no update is longer than this
        if bound <= GIANT * median(self.largest):  # and the median one is no shorter than that
            return torch.ones(len(self), dtype=torch.bool)
        return without_giants(self.norms)

    @cached_property
    def norms(self) -> Tensor:
        """Euclidean lengths, float64 ``[n]``."""
        return row_norms(self.matrix)

    @cached_property
    def inner(self) -> Tensor:
        """Gram matrix U U^T, float64 ``[n, n]``, for cosines of updates."""
        return gram(self.matrix)

    @cached_property
    def centred_inner(self) -> Tensor:
        """Gram matrix of the updates minus their mean, float64 ``[n, n]``, for distances and principal components."""
        return gram(self.matrix, centred=True)

    @cached_property
    def model_inner(self) -> Tensor:
        """Gram matrix of the local models w_t + u_i, float64 ``[n, n]``."""
        return gram(self.matrix, offset=self.w_t)

    def centred_inner_among(self, rows: Tensor) -> Tensor:
        """``centred_inner`` of some updates alone, numbered by ``rows`` int64 ``[k]``: float64 ``[k, k]``."""
        return gram(self.matrix, centred=True, members=rows)

    def cosines_to(self, vector: Tensor) -> Tensor:
        """Cosine of every update to ``vector [d]``, float64 ``[n]`` on the CPU; 0 where either has no length."""
        vector = vector.to(self.matrix)
        inner = torch.zeros(len(self), dtype=torch.float64)
        for columns, block in column_blocks(self.matrix):
            inner += (block @ vector[columns].to(block.device).to(torch.float64)).cpu()
        length = float(row_norms(vector[None]))
        return (inner / self.norms.cpu().clamp(min=FLOOR) / max(length, FLOOR)).clamp(-1.0, 1.0)

    def weighted_sum(self, weights: Tensor) -> Tensor:
        """``sum_i weights[i] * u_i``, float32 ``[d]``."""
        return weighted_sum(weights, self.matrix)

    def equal_shares(self, accepted: Tensor) -> Tensor:
        """Weights of an unweighted mean over ``accepted`` (bool ``[n]``): float64 ``[n]``, all 0 if nobody is."""
        return accepted.to(torch.float64) / max(1, int(accepted.sum()))

    def columns(self, *names: str) -> Tensor:
        """Column numbers int64 of the named parameters, in the vector's order.

        A name matches a slot that equals it or begins with ``name.``. Without any layout, or where nothing matches,
        every column counts.
        """
        found = [
            torch.arange(slot.start, slot.stop)
            for slot in self.server.slots
            if any(slot.name == name or slot.name.startswith(f"{name}.") for name in names)
        ]
        return torch.cat(found) if found else torch.arange(self.matrix.shape[1])

    def output_columns(self) -> Tensor:
        """Columns int64 of the classifier's weight and bias; all without a layout."""
        return self.columns(self.server.output)

    @property
    def last_layer(self) -> slice | Tensor:
        """Columns of the classifier, as a slice where they are adjacent; all columns without a layout."""
        columns = self.output_columns()
        first, last = int(columns[0]), int(columns[-1])
        return slice(first, last + 1) if last - first + 1 == len(columns) else columns

    @property
    def layers(self) -> tuple[slice, ...]:
        """Columns of each named parameter; one slice of everything without a layout."""
        d = self.matrix.shape[1]
        return tuple(slice(slot.start, slot.stop) for slot in self.server.slots) or (slice(0, d),)


def without_giants(norms: Tensor) -> Tensor:
    """Updates that are no giants, bool ``[n]``: norms ``[n]`` of at most ``GIANT`` times their median.

    Rules that compare everyone with everyone leave giants out first: one row of 1e20 would drown all other distances
    in rounding errors, which a second attacker could hide behind.  Fewer than half can be giants, so a majority is
    always left.  Of fewer than three updates, or when the median is 0, none is called a giant.
    """
    middle = median(norms)
    if len(norms) < 3 or middle == 0.0:
        return torch.ones_like(norms, dtype=torch.bool)
    return norms <= GIANT * middle
