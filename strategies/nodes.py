"""Which node holds which partition, and who takes part in a round."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from flwr.app import ConfigRecord
from flwr.serverapp import Grid

from config.compose import RunConfigBase
from config.sections import FederationSection
from learning.rng import numpy_generator
from strategies.exchange import exchange
from strategies.messages import CLIENT, query_message


@dataclass(frozen=True)
class Node:
    """A client as the server knows it."""

    node_id: int
    partition: int
    declared_malicious: bool | None = None
    """The role a node declares in deployment (ground truth for detection figures); None: the seed decides."""


class NodeDirectory:
    """Maps partitions to nodes, by registration order in simulation or by asking each node in deployment."""

    def __init__(self, settings: FederationSection, in_order: bool) -> None:
        self.settings = settings
        self.in_order = in_order
        self.by_partition: dict[int, Node] = {}
        self.refused: dict[int, str] = {}
        """Node id to the cause for which it is not used."""
        self._asked: set[int] = set()

    def wait(self, grid: Grid) -> None:
        """Wait until all clients are online, at most ``wait_for_clients_s``; then go on with those that are."""
        deadline = time.monotonic() + self.settings.wait_for_clients_s
        while True:
            self.refresh(grid)
            if len(self.by_partition) >= self.settings.clients or time.monotonic() >= deadline:
                return
            time.sleep(min(self.settings.poll_s, 1.0))

    def refresh(self, grid: Grid) -> list[Node]:
        """Nodes that are online now, in partition order; newcomers are asked for their partition first."""
        if self.in_order:
            nodes = sorted(grid.get_nodes(), key=lambda node: (node.registered_at, node.node_id))
            self.by_partition = {i: Node(node.node_id, i) for i, node in enumerate(nodes[: self.settings.clients])}
            return list(self.by_partition.values())
        online = set(grid.get_node_ids())
        self._ask(grid, sorted(online - self._asked))
        return [node for _, node in sorted(self.by_partition.items()) if node.node_id in online]

    def _ask(self, grid: Grid, node_ids: list[int]) -> None:
        if not node_ids:
            return
        timeout = min(self.settings.timeout_s, max(self.settings.wait_for_clients_s, 30.0))
        messages = [query_message(i) for i in node_ids]
        answers = exchange(grid, messages, timeout, self.settings.poll_s, one_by_one=True)
        for node_id, answer in sorted(answers.items()):
            if isinstance(answer, Exception) or answer.has_error():
                continue  # asked again next time
            self._asked.add(node_id)
            record = answer.content.get(CLIENT)
            partition = record.get("partition-id") if isinstance(record, ConfigRecord) else None
            if not isinstance(partition, int) or not 0 <= partition < self.settings.clients:
                self.refused[node_id] = f"partition {partition!r}, allowed 0 to {self.settings.clients - 1}"
                continue
            holder = self.by_partition.get(partition)
            if holder is not None and holder.node_id != node_id:
                self.refused[node_id] = f"partition {partition} is already held by node {holder.node_id}"
                continue
            assert isinstance(record, ConfigRecord)
            role = record.get("role")
            malicious = {"malicious": True, "benign": False}.get(role) if isinstance(role, str) else None
            self.by_partition[partition] = Node(node_id, partition, malicious)


def sample(
    nodes: list[Node],
    settings: FederationSection,
    seed: int,
    round: int,
    malicious: frozenset[int],
    exact: bool,
    malicious_fraction: float,
) -> list[Node]:
    """The participants of a round in partition order, drawn from (seed, round) alone.

    ``exact`` draws floor(malicious_fraction x n) attackers every round, as the layer-poisoning code does (SPEC A.2).
    """
    count = min(len(nodes), participants_per_round(settings))
    rng = numpy_generator(seed, "sample", round)
    order = [nodes[i] for i in rng.permutation(len(nodes))]
    if exact:
        wanted = math.floor(malicious_fraction * count + 1e-9)  # 1e-9: 0.58 * 50 is 28.999999999999996
        bad = [node for node in order if node.partition in malicious][:wanted]
        good = [node for node in order if node.partition not in malicious][: count - len(bad)]
        order = bad + good
    return sorted(order[:count], key=lambda node: node.partition)


def participants_per_round(settings: FederationSection) -> int:
    """Clients sampled each round: the stated share of all, halves up, at least one."""
    return min(settings.clients, max(1, int(settings.fraction_train * settings.clients + 0.5)))


def assumed_malicious(config: RunConfigBase, malicious: int, participants: int) -> int:
    """Attackers a round that the server assumes: as configured, or the share of ``malicious`` clients, rounded up."""
    assumed = config.defense.assumed_malicious
    return assumed if assumed >= 0 else math.ceil(malicious * participants / config.federation.clients)
