"""Which training images a client has: one place, so that server, clients and colluding attackers can't differ."""

from __future__ import annotations

from functools import lru_cache

from torch import Tensor

from attacks.adversary import Adversary
from attacks.task import AttackTask
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.learning.datasets import load_task
from fedcrucible_core.learning.partition.base import PARTITIONERS
from fedcrucible_core.learning.partition.shares import partition_indices


@lru_cache(maxsize=1000)
def own_rows(config: RunConfigBase, partition: int) -> Tensor:
    """The client's rows (int64) of the training images; none that attack success is measured on."""
    partitioner = PARTITIONERS.of(config)
    own = partition_indices(config.task, partitioner, config.federation.clients, config.run.seed)[partition]
    withheld = Adversary.of(config).poisoner.withheld(AttackTask.of(config, load_task(config.task)))
    return own if withheld is None else own[~withheld[own]]
