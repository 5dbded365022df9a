"""What many SuperNodes cost a SuperLink before any of them trains: its state database alone, no network, no process.

    python -m studies.superlink_state [--nodes 1000 10000]

Every node is a row that its heartbeat, two a minute, writes; a run asks for the list of all of them every round.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from flwr.server.superlink.linkstate import LinkStateFactory
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.superlink.federation import NoOpFederationManager

HEARTBEAT_S = 30.0
"""Flower's interval, in seconds."""
MOST_BEATS = 200


@dataclass(frozen=True)
class Cost:
    """Of one database."""

    register_ms: float
    """Milliseconds to register and activate a node."""
    heartbeat_ms: float
    """Milliseconds to note a heartbeat."""
    list_s: float
    """Seconds to list all nodes once."""
    kb: float
    """Size of the file per node, in kB (10^3 bytes)."""

    @property
    def most_nodes(self) -> float:
        """Nodes whose heartbeats alone keep the database busy all the time."""
        return HEARTBEAT_S / (self.heartbeat_ms / 1e3)


def measure(nodes: int) -> Cost:
    """Register so many nodes in a database of its own, note heartbeats of some, list all."""
    with tempfile.TemporaryDirectory(prefix="superlink-state-") as name:
        file = Path(name) / "state.db"
        state = LinkStateFactory(str(file), NoOpFederationManager(), ObjectStoreFactory()).state()
        start = time.perf_counter()
        ids = [state.create_node("owner", "owner", f"key {i}".encode(), HEARTBEAT_S) for i in range(nodes)]
        for node_id in ids:
            state.activate_node(node_id, HEARTBEAT_S)
        registered = time.perf_counter()
        beating = ids[:: max(1, nodes // MOST_BEATS)]
        for node_id in beating:
            state.acknowledge_node_heartbeat(node_id, HEARTBEAT_S)
        beaten = time.perf_counter()
        assert len(state.get_node_info()) == nodes
        listed = time.perf_counter()
        size = sum(path.stat().st_size for path in file.parent.glob("state.db*"))
    return Cost(
        1e3 * (registered - start) / nodes,
        1e3 * (beaten - registered) / len(beating),
        listed - beaten,
        size / 1e3 / nodes,
    )


def main() -> None:
    """Print a line for each number of nodes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1000, 10_000])
    print("  nodes  register ms  heartbeat ms  list s  kB/node  nodes that heartbeats alone saturate")
    for nodes in parser.parse_args().nodes:
        cost = measure(nodes)
        print(
            f"{nodes:7d}  {cost.register_ms:11.2f}  {cost.heartbeat_ms:12.2f}  {cost.list_s:6.2f}  {cost.kb:7.2f}  "
            f"{cost.most_nodes:36.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
