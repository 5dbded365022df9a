"""The contracts of defences: rules act on updates, purifiers on the aggregated model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from defenses.smoothing import Smoothing
from defenses.updates import ClientUpdates as ClientUpdates
from defenses.updates import State as State
from fedcrucible_core.config import Component, ConfigError, Registry
from fedcrucible_core.foundation.base import GuideTargets, ServerData
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.survey import Survey
from fedcrucible_core.learning.training import LocalTraining


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
    restart: bool = False
    """Training starts over from the run's initial model in place of w_t + delta (for rules that remove clients)."""


class AggregationRule(Component):
    """A robust aggregation rule: ``rule.aggregate(updates) -> Aggregate``, or ``rule(U)`` on a bare matrix.

    Rules mutate none of their inputs; what they remember travels in ``updates.state`` and ``Aggregate.state``.
    """

    min_clients: ClassVar[int] = 1
    """Fewer updates than this can't be judged; the round loop says so and keeps the model."""
    needs_root: ClassVar[bool] = False
    """True: needs ``ServerView.train_root`` (``defenses/support/root_set.py``), so a bare call raises ValueError."""

    @abstractmethod
    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        """Aggregate one round."""

    @property
    def local_training(self) -> LocalTraining | None:
        """How honest clients train under this rule; None = as without any defence."""
        return None

    @property
    def smoothing(self) -> Smoothing | None:
        """How the model is to be measured: None plainly, else by the vote of noisy copies."""
        return None

    @property
    def privacy(self) -> str:
        """What it promises of differential privacy, in words for the record; empty where nothing looks like a promise.

        A rule that states an epsilon says so by the facts ``epsilon``, ``delta`` and ``releases`` of every round.
        """
        return ""

    @property
    def needs_server_images(self) -> bool:
        """Whether ``repair`` measures the model on the server's own images."""
        return False

    def survey(self, model: SplitModel, shape: tuple[int, int, int]) -> Survey | None:
        """What clients are asked after the last round, for a model with input ``shape`` (C, H, W); None = nothing.

        Raises ValueError when the model isn't one that the question fits.
        """
        return None

    def repair(
        self,
        model: SplitModel,
        shape: tuple[int, int, int],
        answers: Tensor,
        accuracy: Callable[[], float] | None,
    ) -> dict[str, float]:
        """Work on the final model, in place, with the answers int64 ``[m, channels]``, m >= 1, to the survey.

        ``accuracy`` measures the model on the server's own images in percent; None unless the rule needs them.
        Returns diagnostics.
        """
        raise NotImplementedError(f"rule {self.name!r} asks clients for something and does nothing with it")

    def check(self, clients: int, malicious: int) -> None:
        """Raise ConfigError when the rule can't serve ``clients`` participants with ``malicious`` attackers."""
        if clients < self.min_clients:
            raise ConfigError(
                "defense.name", self.name, f"needs at least {self.min_clients} clients a round, there are {clients}"
            )

    def __call__(self, matrix: Tensor, num_examples: Tensor | None = None) -> Aggregate:
        """Aggregate a bare matrix ``[n, d]``: global model zero, equal examples, fresh state."""
        return self.aggregate(ClientUpdates.bare(matrix, num_examples))


@dataclass(frozen=True)
class Purified:
    """Result of a purifier; the model was changed in place."""

    facts: dict[str, float] = field(default_factory=dict)
    """Diagnostics of the round: losses per phase, seconds excluded."""
    state: State = field(default_factory=dict)


class Purifier(Component):
    """Works on the aggregated model with the server's own data; never sees a client's data."""

    needs_guide: ClassVar[bool] = False

    def check(self, model: SplitModel, guide: GuideTargets | None) -> None:
        """Raise ConfigError when this model and guide can't be worked on; called before any client trains."""

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


RULES: Registry[AggregationRule] = Registry("defense", "defenses.rules")
PURIFIERS: Registry[Purifier] = Registry("purifier", "defenses.purifiers")
