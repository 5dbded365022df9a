"""Few classes per client, by shards of images sorted by label."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.partition.base import PARTITIONERS, Labels, Partitioner


@PARTITIONERS.register("shards")
class ShardsPartitioner(Partitioner):
    """Sort images by label, cut them into clients * per_client shards and deal each client per_client random shards.

    Shards differ by at most one image; images of one class are shuffled first.  A shard can straddle two classes.
    """

    paper = ("mcmahan2017", "section 3, pathological non-IID")
    choices = ("non-iid-degree",)
    per_client: int = Field(2, ge=1, description="Shards per client, about the number of its classes")

    def owners(self, labels: Labels, clients: int, num_classes: int, rng: np.random.Generator) -> Labels:  # noqa: ARG002
        """Client of each image. Raises ConfigError when there are fewer images than shards."""
        shards = clients * self.per_client
        if shards > len(labels):
            raise ConfigError(
                "partition.shards.per_client",
                self.per_client,
                f"allowed: 1 to {len(labels) // clients} with {len(labels)} training images and {clients} clients",
            )
        shuffled = rng.permutation(len(labels))
        by_label = shuffled[np.argsort(labels[shuffled], kind="stable")]
        shard_of_rank = np.arange(len(labels)) * shards // len(labels)
        owner_of_shard = rng.permutation(np.arange(shards) % clients)
        owners = np.empty(len(labels), dtype=np.int64)
        owners[by_label] = owner_of_shard[shard_of_rank]
        return owners
