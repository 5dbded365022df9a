"""The attacker's view of one round: all it sees and can do. ``client_app`` implements it; tests may."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from attacks.poisoner import Poisoner
from fedcrucible_core.config.sections import AdversarySection, TrainingSection
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.training import TrainingHook
from fedcrucible_core.learning.vector import Slot
from fedcrucible_core.learning.weights import LocalUpdate, Trained, Weights

T = TypeVar("T")


@dataclass(frozen=True)
class Upload(LocalUpdate):
    """What an attacker sends to the server."""

    attacked: bool = True
    """False: an honest upload, because the attack found nothing to do in this round."""

    @property
    def parameters(self) -> Tensor:
        """Its parameters float32 ``[d]``."""
        return self.weights.parameters

    @property
    def buffers(self) -> Tensor:
        """Its buffers float32 ``[b]``."""
        return self.weights.buffers


@dataclass(frozen=True, kw_only=True)
class AttackView(ABC):
    """One attacker in one round: its data, the model it received, its training, and those it colludes with."""

    round: int
    """1, 2, ..."""
    partition: int
    part: int
    """Number of this attacker among the malicious clients (0, 1, ...)."""
    participants: int
    """Clients sampled this round."""
    slots: tuple[Slot, ...]
    """Layout of the flat parameter vector."""
    target: int
    """The target class."""
    poisoner: Poisoner
    """What is done to its data."""
    adversary: AdversarySection
    """How attackers train, collude and take part."""
    training: TrainingSection
    """How honest clients train."""
    received: Weights
    """The model received."""
    memory: dict[str, Tensor] = field(default_factory=dict)
    """Named CPU tensors that this attacker keeps from round to round; it travels, so keep it small."""

    @property
    def w_global(self) -> Tensor:
        """Parameters received, float32 ``[d]``."""
        return self.received.parameters

    @property
    def poison_training(self) -> TrainingSection:
        """How this attacker trains on poisoned data: as honest clients, or with its own epochs and learning rate."""
        changes = {"local_epochs": self.adversary.local_epochs, "lr": self.adversary.lr}
        return self.training.model_copy(update={key: value for key, value in changes.items() if value})

    @property
    @abstractmethod
    def clean(self) -> Labeled:
        """The attacker's own data."""

    @property
    @abstractmethod
    def poisoned(self) -> Labeled:
        """The same, poisoned as the common settings say."""

    @abstractmethod
    def with_poisoned_copies(self, rows: Tensor, purpose: str) -> Labeled:
        """``clean`` images at ``rows`` (int64), poisoned copies of those that may be poisoned, and what is added."""

    @abstractmethod
    def triggered(self, data: Labeled) -> Tensor:
        """Images of ``data`` with the whole trigger, as success is measured on it; float32 ``[n, C, H, W]``."""

    @abstractmethod
    def train(
        self,
        data: Labeled,
        *,
        start: Weights | None = None,
        settings: TrainingSection | None = None,
        hook: TrainingHook | None = None,
        purpose: str = "train",
    ) -> Trained:
        """Train from the received model (or ``start``) with the honest clients' settings unless others are given.

        Shuffles are drawn from (seed, purpose, round, partition).
        """

    @abstractmethod
    def clean_model(self) -> Trained:
        """This client's honest upload; trained once per round and process."""

    @abstractmethod
    def predict(self, model: Weights, images: Tensor) -> Tensor:
        """Predicted classes int64 ``[n]`` on the CPU for images ``[n, C, H, W]`` in [0, 1]."""

    @abstractmethod
    def gradient(self, data: Labeled) -> Tensor:
        """Gradient ``[d]`` of the mean cross-entropy of the received model on ``data``."""

    @abstractmethod
    def generator(self, purpose: str) -> torch.Generator:
        """A CPU generator drawn from (seed, purpose, round, partition)."""

    @property
    @abstractmethod
    def colluders(self) -> Sequence[AttackView]:
        """The attackers that pool their data and take part this round, in partition order, this one included.

        Only this one where it attacks alone.  Other members' ``memory`` stays with them.
        """

    @abstractmethod
    def simulate(self, rule: str, updates: Tensor) -> Tensor | None:
        """Which rows of ``updates [k, d]`` an aggregation rule would accept, bool ``[k]``.

        ``rule`` is a registered name, or ``server`` for the run's own.  None: the rule can't judge without what only
        the server has, or so few updates.
        """

    @abstractmethod
    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """``compute()``, remembered under ``key`` for the colluders that this process serves in this round."""

    @property
    def leader(self) -> AttackView:
        """The first colluder: whoever else needs its result computes the same from its data and seeds."""
        return self.colluders[0]

    def clean_updates(self) -> Tensor:
        """The colluders' clean updates, ``[k, d]`` in partition order: what they know of honest clients."""
        return torch.stack([member.clean_model().parameters - member.w_global for member in self.colluders])

    def accuracy(self, model: Weights, data: Labeled) -> float:
        """Share (0..1) of ``data``, which must not be empty, that a model classifies as labelled."""
        return float((self.predict(model, data.inputs) == data.labels.cpu()).double().mean())
