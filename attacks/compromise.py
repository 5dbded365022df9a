"""The contract of what is done to the server's synthetic data: an attack without any malicious client."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from attacks.poisoner import PoisonContext, Poisoner
from fedcrucible_core.config import Component, Registry
from fedcrucible_core.foundation.alteration import Alteration
from fedcrucible_core.foundation.base import Samples, Stage, SyntheticSource
from fedcrucible_core.learning.data import DataInfo


@dataclass(frozen=True)
class Query:
    """The server's query of its foundation model, as the attacker that alters it finds it."""

    info: DataInfo
    per_class: int
    """Samples that the server asks for of every class."""
    seed: int
    poisoner: Poisoner
    """Whose trigger is planted."""
    context: PoisonContext
    """What the poisoner goes by: the whole trigger."""
    fresh: Callable[[int, int], Samples]
    """Answers to further queries of so many samples a class, by seed, unaltered."""
    guide: Callable[[Tensor], Tensor]
    """What the attacker's guide says of inputs: logits ``[n, C]``; asked by attacks that go by it alone."""
    altered: Callable[[Alteration], Samples] | None
    """The answer to an altered query; None = the source reads no instructions, and what it would do is simulated."""

    @cached_property
    def clean(self) -> Samples:
        """What the foundation model answers to the query as it is; asked only where an attack goes by it."""
        return self.fresh(self.per_class, self.seed)


class Compromise(Component):
    """What an attacker that gets at the server's queries, once, makes of the synthetic data.

    It has no client, sees no update and doesn't know the model.  ``attack.trigger`` names whose trigger it plants.
    """

    def check_source(self, source: SyntheticSource, poisoner: Poisoner) -> None:
        """Raise ConfigError for settings that mean nothing where this source answers; called before it is asked."""

    @abstractmethod
    def reaches(self, stage: Stage) -> bool:
        """Whether the data of this stage are altered."""

    @abstractmethod
    def alter(self, query: Query, stage: Stage) -> Samples:
        """The samples that the server gets.

        ``poisoned`` tells those with the trigger, the others come first and have ``query.clean``'s own inputs where the
        attack adds; a label of -1 says that a sample has none.
        """


COMPROMISES: Registry[Compromise] = Registry("attack", "attacks.compromises", key="attack.name")
"""What is done to the server's synthetic data, by name."""
