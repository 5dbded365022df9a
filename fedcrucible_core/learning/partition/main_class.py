"""Clients in groups, each group with a main class."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from fedcrucible_core.learning.partition.base import PARTITIONERS, Labels, Partitioner


@PARTITIONERS.register("main-class")
class MainClassPartitioner(Partitioner):
    """G = min(clients, classes) groups; an image goes to its class's group with probability q, else to another one.

    Class l belongs to group l mod G, every other group is equally likely, (1 - q) / (G - 1) each; q = 1/G is IID and
    q = 1 gives clients of one class (where G = C).  Client j belongs to group j*G // clients, so groups hold equally
    many clients where the number of clients is a multiple of G, else sizes differ by one.  Each group is shuffled and
    dealt out evenly; its leftovers go to its own smallest clients (lowest number first), so every image is used and no
    client receives another group's images.
    """

    paper = (
        ("fang2020", "experimental setup"),
        ("cao2021fltrust", "section VI-A"),
        ("gai2025clipfed", "degree of non-IID, an inference"),
    )
    choices = ("non-iid-degree",)
    q: float = Field(0.4, ge=0.0, le=1.0, description="Probability (fraction) that an image goes to its class's group")

    def owners(self, labels: Labels, clients: int, num_classes: int, rng: np.random.Generator) -> Labels:
        """Client of each image; see :meth:`Partitioner.split`."""
        groups = min(clients, num_classes)
        own = labels % groups
        if groups == 1:
            group = own
        else:
            stays = rng.random(len(labels)) < self.q
            group = np.where(stays, own, (own + rng.integers(1, groups, size=len(labels))) % groups)
        group_of_client = np.arange(clients) * groups // clients
        owners = np.empty(len(labels), dtype=np.int64)
        for g in range(groups):
            members = rng.permutation(np.flatnonzero(group == g))
            receivers = np.flatnonzero(group_of_client == g)
            owners[members] = receivers[np.arange(len(members)) % len(receivers)]
        return owners
