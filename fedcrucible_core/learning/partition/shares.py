"""The run's split of its training images: one place, so that server and clients can't differ."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from fedcrucible_core.config.sections import TaskSection
from fedcrucible_core.learning.datasets import load_ids, load_task
from fedcrucible_core.learning.partition.base import Partitioner
from fedcrucible_core.learning.partition.parts import Parts
from fedcrucible_core.learning.rng import numpy_generator


@lru_cache(maxsize=4)
def partition_indices(task: TaskSection, partitioner: Partitioner, clients: int, seed: int) -> Parts:
    """Training indices (int64) of every client; the same in every process because only the seed decides.

    Raises ConfigError when the partitioner can't serve that many clients, or asks for a column that isn't there.
    """
    data = load_task(task)
    rng = numpy_generator(seed, "partition")
    ids = None if partitioner.id_column is None else load_ids(task, partitioner.id_column)
    return partitioner.split(data.train.labels.numpy(), clients, data.info.num_classes, rng, ids)


@dataclass(frozen=True)
class ClientShare:
    """A client's rows (int64, ascending) of the training images: those it trains on, and those of its own test."""

    train: Tensor
    test: Tensor

    @classmethod
    def of(cls, rows: Tensor, test_fraction: float, seed: int, partition: int) -> ClientShare:
        """Rows parted by (seed, partition): the fraction, rounded down but at least one of two, is for the test."""
        if test_fraction == 0.0 or len(rows) < 2:
            return cls(rows, rows[:0])
        kept = max(1, int(test_fraction * len(rows)))
        order = numpy_generator(seed, "client-test", partition).permutation(len(rows))
        is_test = torch.zeros(len(rows), dtype=torch.bool)
        is_test[torch.from_numpy(order[:kept])] = True
        return cls(rows[~is_test], rows[is_test])


def partition_notes(task: TaskSection, partitioner: Partitioner, clients: int, seed: int) -> tuple[str, ...]:
    """What the reader of a record must know of these indices, such as how many images a repair moved."""
    data = load_task(task)
    rng = numpy_generator(seed, "partition")
    return partitioner.notes(data.train.labels.numpy(), clients, data.info.num_classes, rng)
