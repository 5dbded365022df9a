"""Natural clients: what a column of the data set says of each image decides who owns it."""

from __future__ import annotations

import heapq

import numpy as np
from pydantic import Field

from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.partition.base import PARTITIONERS, Labels, Partitioner


@PARTITIONERS.register("by-column")
class ByColumnPartitioner(Partitioner):
    """Images with the same id in a column (writer, hospital, device) stay together: an id is never split.

    With as many clients as ids each client is one id, in the order of the ids (whole numbers by size, text by code
    points).  With fewer clients whole ids are dealt out, largest first, each to the client that is smallest at that
    moment; ties and the clients' numbers are drawn by seed.  More clients than ids are refused.  Only images that are
    shared out count: not those that are held out or left out.
    """

    paper = (("caldas2018leaf", "writers, users"), ("graham1969", "dealing, longest first"))
    column: str = Field("", description="Column of ids, e.g. writer_id; `fedcrucible run` names those that exist")

    @property
    def id_column(self) -> str | None:
        """The column that owners are read from."""
        return self.column

    def owners(self, labels: Labels, clients: int, num_classes: int, rng: np.random.Generator) -> Labels:  # noqa: ARG002
        """Client of each image where no ids are known: every image has an id of its own."""
        return self.owners_by_id(np.arange(len(labels)), clients, rng)

    def owners_by_id(self, ids: Labels, clients: int, rng: np.random.Generator) -> Labels:
        """Client of each image by its id. Raises ConfigError when there are fewer ids than clients."""
        known, own, sizes = np.unique(ids, return_inverse=True, return_counts=True)
        if clients > len(known):
            allowed = f"allowed: 1 to {len(known)}, the ids in column {self.column!r} of {len(ids)} training images"
            raise ConfigError("federation.clients", clients, allowed)
        if clients == len(known):
            return own.astype(np.int64)
        number, shuffled = rng.permutation(clients), rng.permutation(len(known))
        smallest = [(0, rank) for rank in range(clients)]
        client_of = np.empty(len(known), dtype=np.int64)
        for place in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
            size, rank = heapq.heappop(smallest)
            client_of[place] = number[rank]
            heapq.heappush(smallest, (size + int(sizes[place]), rank))
        return client_of[own]
