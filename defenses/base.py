"""The contracts of defences: rules act on updates, purifiers on the aggregated model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from config import Component, ConfigError, Registry
from foundation.base import GuideTargets, ServerData
from learning.models.base import SplitModel

State = Mapping[str, Tensor]
"""What a rule or purifier remembers between rounds: named tensors, serialisable, never hidden in the object."""


@dataclass(frozen=True)
class Aggregate:
    """Result of a rule: ``delta [d]`` is added to the global model; ``weights[i] = 0`` means client i was rejected."""

    delta: Tensor
    weights: Tensor
    """float64 ``[n]``, non-negative, sums to 1 unless nobody was accepted."""
    per_client: dict[str, list[float]] = field(default_factory=dict)
    """Diagnostics, one number per client in input order (scores, norms, ...)."""
    facts: dict[str, float] = field(default_factory=dict)
    """Diagnostics of the round (threshold, number of clusters, ...)."""
    state: State = field(default_factory=dict)


class AggregationRule(Component):
    """A robust aggregation rule: ``rule(w_t, U, num_examples, ids, round, rng, state) -> Aggregate``.

    ``U [n, d]`` holds updates ``w_i - w_t`` in partition order, finite (the round loop rejects other replies before
    any rule runs).  Rules mutate none of their inputs.
    """

    min_clients: ClassVar[int] = 1
    """Fewer updates than this can't be judged; the round loop says so and falls back as the rule documents."""

    @abstractmethod
    def aggregate(
        self,
        w_t: Tensor,
        updates: Tensor,
        num_examples: Tensor,
        ids: Sequence[int],
        round: int,
        rng: torch.Generator,
        state: State,
    ) -> Aggregate:
        """Aggregate one round.

        ``w_t`` float32 ``[d]``, ``updates`` float32 ``[n, d]``, ``num_examples`` float64 ``[n]`` positive,
        ``ids`` n partition ids, ``round`` from 1, ``rng`` for any noise, ``state`` what the rule returned last.
        """

    def check(self, clients: int, malicious: int) -> None:
        """Raise ConfigError when the rule can't serve ``clients`` participants with ``malicious`` attackers."""
        if clients < self.min_clients:
            raise ConfigError(
                "defense.name", self.name, f"needs at least {self.min_clients} clients a round, there are {clients}"
            )

    def __call__(self, updates: Tensor, num_examples: Tensor | None = None) -> Aggregate:
        """Aggregate a bare matrix ``[n, d]``: global model zero, equal examples, fresh state."""
        n, d = updates.shape
        examples = torch.ones(n, dtype=torch.float64) if num_examples is None else num_examples.to(torch.float64)
        rng = torch.Generator().manual_seed(0)
        return self.aggregate(torch.zeros(d), updates, examples, range(n), 1, rng, {})


@dataclass(frozen=True)
class Purified:
    """Result of a purifier; the model was changed in place."""

    facts: dict[str, float] = field(default_factory=dict)
    """Diagnostics of the round: losses per phase, seconds excluded."""
    state: State = field(default_factory=dict)


class Purifier(Component):
    """Works on the aggregated model with the server's own data; never sees a client's data."""

    needs_guide: ClassVar[bool] = False

    @abstractmethod
    def purify(
        self,
        model: SplitModel,
        data: ServerData,
        guide: GuideTargets | None,
        rng: torch.Generator,
        state: State,
    ) -> Purified:
        """Purify ``model`` in place (it lies on its device; ``data`` and ``guide`` on the CPU)."""


RULES: Registry[AggregationRule] = Registry("defense", "defenses")
PURIFIERS: Registry[Purifier] = Registry("purifier", "defenses")
