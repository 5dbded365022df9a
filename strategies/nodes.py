"""Which node holds which partition."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid

from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.config.sections import FederationSection
from fedcrucible_core.learning.data import DataInfo
from strategies.bindings import Bindings, fingerprint
from strategies.claims import Claim
from strategies.exclusions import KEY as EXCLUDED
from strategies.exclusions import Exclusions
from strategies.node import Node
from strategies.outcome import NodeIdentity
from strategies.partition_query import UNANSWERED, PartitionQuery
from strategies.quorum import Quorum
from strategies.roster_news import RosterNews, partitions
from strategies.virtual_nodes import Registration, VirtualNodes, ids_of, partitions_of, seniority

CONTESTED = "both claim it, and the first takes part; federation.node_partitions can say who may"
MOST_CAUSES = 20
"""Causes that one error lists."""


class TooFewNodesError(RuntimeError):
    """Fewer nodes can be used at the start than a round needs; the text names each one's cause."""


class NodeDirectory:
    """Maps partitions to nodes, by registration order in simulation or by asking each node in deployment.

    The oldest claim to a partition among the nodes that are online holds it: claims made before the run began by
    registration, later ones as they come.  With ``federation.node_partitions`` only listed nodes are used, each for its
    partition.  Partitions that ``federation.excluded`` leaves out of ``round``, the coming one, are nobody's.  ``info``
    is what nodes are told about the server's data set.
    """

    def __init__(
        self, settings: FederationSection, in_order: bool, info: DataInfo | None = None, round: int = 1
    ) -> None:
        self.settings = settings
        self.in_order = in_order
        self.round = round
        self.exclusions = Exclusions.of(settings)
        self.by_partition: dict[int, Node] = {}
        """Who holds or last held each partition, in a deployment."""
        self.refused: dict[int, str] = {}
        """Id of each node that is online but not used, to the cause."""
        self.bindings = None if in_order else Bindings.of(settings)
        self._query = PartitionQuery(settings.clients, settings.poll_s, info)
        self._online: dict[int, NodeInfo] = {}
        self._begun = 0
        """0 before the run begins; then the number of refreshes since."""
        self._arrival: dict[tuple[int, int], int] = {}
        """When (``_begun``) a node first claimed a partition."""
        self._registration = Registration(settings.clients)
        self._news = RosterNews(settings.clients, self.exclusions.at(round - 1))
        self.quorum = Quorum.of(settings)
        self.absent: list[int] = []
        """Partitions that no usable node held when the nodes were last looked at."""
        self._known: dict[int, NodeIdentity] = {}
        self._nodes: Sequence[Node] = ()
        """Who could be asked when the nodes were last looked at."""

    def wait(self, grid: Grid) -> None:
        """Wait until all clients are online, at most ``wait_for_clients_s``; then go on with those that are.

        Raises TooFewNodesError when they are fewer than ``min_replies``, or lack one that the quorum requires.
        """
        deadline = time.monotonic() + self.settings.wait_for_clients_s
        wanted = self.settings.clients - len(self.excluded)
        while len(nodes := self.refresh(grid)) < wanted and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(self.settings.poll_s, 1.0, left))
        held = set(partitions_of(nodes).tolist()) if self.quorum.asks else set()
        if len(nodes) < self.settings.min_replies or (self.quorum.asks and self.quorum.shortage(held, self.excluded)):
            raise TooFewNodesError(self._shortage(nodes))
        self._begun = 1

    def refresh(self, grid: Grid) -> Sequence[Node]:
        """Nodes that are online and used now, in partition order; never waits for a node's answer."""
        self._begun += self._begun > 0
        nodes = self._virtual(grid) if self.in_order else self._claimed(grid)
        self._nodes = nodes
        there = np.zeros(self.settings.clients, dtype=np.bool_)
        there[partitions_of(nodes)] = True
        there[list(self.excluded)] = True  # nobody waits for those who shall not come
        self.absent = np.flatnonzero(~there).tolist()
        self._news.see(nodes, self._causes(steps=2 if self._begun else 1), self._labels(), self.excluded)
        return nodes

    @property
    def excluded(self) -> frozenset[int]:
        """Partitions that take no part in the coming round."""
        return self.exclusions.at(self.round)

    def news(self) -> list[str]:
        """Notes on what changed among the nodes since the last call."""
        return self._news.take()

    def partitions_of_ids(self, ids: Collection[int]) -> dict[int, int]:
        """Node id -> partition, of those among ``ids`` that held one when the nodes were last looked at."""
        found = np.flatnonzero(np.isin(ids_of(self._nodes), np.fromiter(ids, np.uint64, len(ids))))
        nodes = [self._nodes[int(at)] for at in found]
        return {node.node_id: node.partition for node in nodes}

    def identities(self, among: Collection[int]) -> dict[int, NodeIdentity]:
        """Who holds or last held each partition of ``among``; nothing where nodes are virtual."""
        held = {p: self.by_partition[p] for p in among if p in self.by_partition}
        for node in held.values():
            told = self._online.get(node.node_id)
            if told is not None:
                self._known[node.node_id] = NodeIdentity(
                    node.node_id, plain_text(told.name, 60), fingerprint(told.public_key)
                )
        return {p: self._known.get(node.node_id, NodeIdentity(node.node_id, "", "")) for p, node in held.items()}

    def _virtual(self, grid: Grid) -> VirtualNodes:
        """By order of registration; a partition stays with its node, and later ones get what is left."""
        return self._registration.see(grid, begun=self._begun > 0).without(self.excluded)

    def _claimed(self, grid: Grid) -> list[Node]:
        """By what nodes say, one partition each."""
        ids = set(grid.get_node_ids())
        told = {node.node_id: node for node in grid.get_nodes()}
        self._online = {i: told.get(i, NodeInfo(node_id=i)) for i in ids}
        unlisted = self.bindings.unusable(self._online) if self.bindings is not None else {}
        self.refused = {i: plain_text(cause) for i, cause in unlisted.items()}
        asked = {i: node.last_activated_at for i, node in self._online.items() if i not in self.refused}
        self._query.step(grid, asked)
        self.refused |= {i: self._query.faults[i] for i in asked if i in self._query.faults}
        claims = {i: self._query.claims[i] for i in asked if i in self._query.claims}
        holders = self._holders(claims)
        self.by_partition |= holders
        return [node for partition, node in sorted(holders.items()) if partition not in self.excluded]

    def _holders(self, claims: Mapping[int, Claim]) -> dict[int, Node]:
        """The oldest claim to each partition; the others are refused."""
        for node_id, claim in claims.items():
            self._arrival.setdefault((node_id, claim.partition), self._begun)
        holders: dict[int, Node] = {}
        for node_id in sorted(
            claims, key=lambda i: (self._arrival[i, claims[i].partition], seniority(self._online[i]))
        ):
            claim = claims[node_id]
            cause = self.bindings.fault(self._online[node_id], claim.partition) if self.bindings is not None else ""
            if not cause and claim.partition in self.excluded:
                cause = f"partition {claim.partition} is excluded ({EXCLUDED})"
            if not cause and claim.partition in holders:
                holder = holders[claim.partition].node_id
                cause = f"partition {claim.partition} is already held by node {holder}: {CONTESTED}"
            if cause:
                self.refused[node_id] = cause
            else:
                holders[claim.partition] = Node(node_id, claim.partition, claim.declared_malicious, claim.own_data)
        return holders

    def _causes(self, steps: int = 1) -> dict[int, str]:
        """Why each node that is online is not used; nodes that say nothing count once asked ``steps`` refreshes ago."""
        silent = {i: UNANSWERED for i in self._online if self._query.silent(i, steps)}
        return dict(sorted({**silent, **self.refused}.items()))

    def _labels(self) -> dict[int, str]:
        """Nodes as notes call them."""
        names = {i: plain_text(node.name, 40) for i, node in self._online.items()}
        return {i: f"node {i} ({name})" if name else f"node {i}" for i, name in names.items()}

    def _shortage(self, nodes: Sequence[Node]) -> str:
        held, labels = {node.partition for node in nodes}, self._labels()
        causes = self.quorum.shortage(held, self.excluded)
        causes += [f"{labels[i]}: {cause}" for i, cause in self._causes().items()]
        if self.bindings is not None:
            seen = {self.bindings.entry(node) for node in self._online.values()}
            causes += [f"{plain_text(name)}: not online" for name in self.bindings.partitions if name not in seen]
        free = [k for k in range(self.settings.clients) if k not in held and k not in self.excluded]
        if free:
            causes.append(f"no usable node is online for {partitions(free)}")
        if self.excluded:
            causes.append(f"{partitions(sorted(self.excluded))} excluded ({EXCLUDED})")
        if len(causes) > MOST_CAUSES:
            causes[MOST_CAUSES:] = [f"and {len(causes) - MOST_CAUSES} more"]
        needed, waited = self.settings.min_replies, self.settings.wait_for_clients_s
        return (
            f"{len(nodes)} of {self.settings.clients} clients can be used, {needed} needed (federation.min_replies), "
            f"after federation.wait_for_clients_s = {waited:g}: {'; '.join(causes)}"
        )
