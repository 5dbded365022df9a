"""Which training images a client has: one place, so that server, clients and colluding attackers can't differ."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from torch import Tensor

from attacks.adversary import Adversary
from attacks.task import AttackTask
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.learning.datasets import load_task
from fedcrucible_core.learning.partition.base import PARTITIONERS
from fedcrucible_core.learning.partition.parts import Parts
from fedcrucible_core.learning.partition.shares import ClientShare, partition_indices


def own_rows(config: RunConfigBase, partition: int) -> Tensor:
    """The rows (int64) of the training images that a client trains on; none that attack success is measured on."""
    return own_share(config, partition).train


@lru_cache(maxsize=1000)
def own_share(config: RunConfigBase, partition: int) -> ClientShare:
    """The client's rows of the training images, a share of its own test apart (``partition.test_fraction``)."""
    return Shares.of(config).share(partition)


@dataclass(frozen=True)
class Shares:
    """The shares of all clients of a run: for whoever asks for many, without settling the same for each of them."""

    parts: Parts
    withheld: Tensor | None
    """bool ``[M]``: training images that attack success is measured on; None where there are none."""
    test_fraction: float
    seed: int

    @classmethod
    def of(cls, config: RunConfigBase) -> Shares:
        """The shares by this configuration. Raises ConfigError where the partitioner can't serve its clients."""
        parts = partition_indices(config.task, PARTITIONERS.of(config), config.federation.clients, config.run.seed)
        withheld = Adversary.of(config).poisoner.withheld(AttackTask.of(config, load_task(config.task)))
        return cls(parts, withheld, config.partition.test_fraction, config.run.seed)

    def share(self, partition: int) -> ClientShare:
        """One client's."""
        own = self.parts.tensor(partition)
        rows = own if self.withheld is None else own[~self.withheld[own]]
        return ClientShare.of(rows, self.test_fraction, self.seed, partition)
