"""Nodes that are known by the order of their registration: two arrays instead of an object per node.

A simulation may have a hundred thousand clients of which ten take part in a round.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid

from strategies.node import Node

Numbers = npt.NDArray[np.int64]
Ids = npt.NDArray[np.uint64]


class VirtualNodes(Sequence[Node]):
    """Nodes of simulations in partition order, each made when it is asked for; they declare nothing."""

    def __init__(self, partitions: Numbers, ids: Ids) -> None:
        """``partitions`` ascending ``[n]`` and the node id of each ``[n]``."""
        self.partitions = partitions
        self.ids = ids

    def __len__(self) -> int:
        return len(self.partitions)

    @overload
    def __getitem__(self, index: int) -> Node: ...

    @overload
    def __getitem__(self, index: slice) -> VirtualNodes: ...

    def __getitem__(self, index: int | slice) -> Node | VirtualNodes:
        if isinstance(index, slice):
            return VirtualNodes(self.partitions[index], self.ids[index])
        return Node(int(self.ids[index]), int(self.partitions[index]))

    def without(self, partitions: Iterable[int]) -> VirtualNodes:
        """The nodes of all other partitions."""
        left_out = np.isin(self.partitions, np.fromiter(partitions, np.int64))
        return VirtualNodes(self.partitions[~left_out], self.ids[~left_out]) if left_out.any() else self


class Registration:
    """The first ``clients`` nodes by order of registration hold partitions 0, 1, ...; later ones get what is left."""

    def __init__(self, clients: int) -> None:
        self.clients = clients
        self._order: Ids = np.zeros(0, np.uint64)
        """The node of each partition that has one."""
        self._online: Ids | None = None
        self._present = VirtualNodes(np.zeros(0, np.int64), self._order)

    def see(self, grid: Grid, *, begun: bool) -> VirtualNodes:
        """The nodes that are online and hold a partition; before a run has begun nobody's place is kept."""
        online = np.sort(_ids(grid.get_node_ids()))
        if self._online is not None and np.array_equal(online, self._online):
            return self._present
        found = _by_seniority(grid)
        kept = self._order if begun else self._order[:0]
        late = found[~np.isin(found, kept)]
        self._order = np.concatenate([kept, late])[: self.clients]
        there = np.isin(self._order, found)
        self._present = VirtualNodes(np.flatnonzero(there), self._order[there])
        self._online = online if begun or len(self._present) == self.clients else None
        return self._present


def seniority(node: NodeInfo) -> tuple[str, int]:
    """What older nodes have less of: when they registered, then their id."""
    return node.registered_at, node.node_id


def _by_seniority(grid: Grid) -> Ids:
    """Ids of all nodes, the oldest first; nothing else is kept of nodes that come in order."""
    ids, last = array("Q"), ("", 0)
    for node in grid.get_nodes():
        if seniority(node) < last:
            return _ids(other.node_id for other in sorted(grid.get_nodes(), key=seniority))
        last = seniority(node)
        ids.append(node.node_id)
    return np.frombuffer(ids, np.uint64) if ids else np.zeros(0, np.uint64)


def _ids(ids: Iterable[int]) -> Ids:
    if isinstance(ids, range):
        return np.arange(ids.start, ids.stop, ids.step, dtype=np.uint64)
    return np.fromiter(ids, np.uint64)


def partitions_of(nodes: Sequence[Node]) -> Numbers:
    """The partition of each node, in their order, int64 ``[n]``."""
    if isinstance(nodes, VirtualNodes):
        return nodes.partitions
    return np.fromiter((node.partition for node in nodes), np.int64, len(nodes))


def ids_of(nodes: Sequence[Node]) -> Ids:
    """The id of each node, in their order, uint64 ``[n]``."""
    return (
        nodes.ids if isinstance(nodes, VirtualNodes) else np.fromiter((n.node_id for n in nodes), np.uint64, len(nodes))
    )


def declaring(nodes: Sequence[Node]) -> Iterable[Node]:
    """Those of the nodes that may have declared something of themselves."""
    return () if isinstance(nodes, VirtualNodes) else nodes


@dataclass(frozen=True)
class Holders:
    """Which partitions have a node, and which one: 9 bytes per client."""

    there: npt.NDArray[np.bool_]
    """``[clients]``"""
    ids: Ids
    """``[clients]``; of partitions without a node it says nothing."""

    @classmethod
    def of(cls, nodes: Sequence[Node], clients: int) -> Holders:
        """The holders among so many clients."""
        partitions, there = partitions_of(nodes), np.zeros(clients, np.bool_)
        there[partitions] = True
        if len(partitions) == clients and isinstance(nodes, VirtualNodes):
            return cls(there, nodes.ids)
        ids = np.zeros(clients, np.uint64)
        ids[partitions] = ids_of(nodes)
        return cls(there, ids)

    def then(self, later: Holders) -> Holders:
        """Who held each partition last: ``later``, where somebody does."""
        if bool(later.there.all()):
            return later
        return Holders(self.there | later.there, np.where(later.there, later.ids, self.ids))

    def __len__(self) -> int:
        return int(self.there.sum())
