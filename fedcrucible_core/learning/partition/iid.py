"""Independent and identically distributed clients."""

from __future__ import annotations

import numpy as np

from fedcrucible_core.learning.partition.base import PARTITIONERS, Labels, Partitioner


@PARTITIONERS.register("iid")
class IidPartitioner(Partitioner):
    """Shuffle all images and deal them out evenly; sizes differ by at most one."""

    paper = ("mcmahan2017", "section 3")

    def owners(self, labels: Labels, clients: int, num_classes: int, rng: np.random.Generator) -> Labels:  # noqa: ARG002
        """Client of each image; see :meth:`Partitioner.split`."""
        return rng.permutation(np.arange(len(labels), dtype=np.int64) % clients)
