"""Which training images a client has: one place, so that server, clients and colluding attackers can't differ."""

from __future__ import annotations

from functools import lru_cache

from torch import Tensor

from attacks.base import Attack
from attacks.task import AttackTask
from config.compose import RunConfigBase
from learning.datasets import load_task
from learning.partition import Partitioner
from learning.partition.shares import partition_indices


@lru_cache(maxsize=1000)
def own_rows(config: RunConfigBase, partition: int) -> Tensor:
    """The client's rows (int64) of the training images; none that attack success is measured on."""
    partitioner = config.component("partition", config.partition.name)
    attack = config.component("attack", config.attack.name)
    assert isinstance(partitioner, Partitioner)
    assert isinstance(attack, Attack)
    own = partition_indices(config.task, partitioner, config.federation.clients, config.run.seed)[partition]
    withheld = attack.withheld(AttackTask.of(config, load_task(config.task)))
    return own if withheld is None else own[~withheld[own]]
