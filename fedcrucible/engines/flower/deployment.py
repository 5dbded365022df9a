"""A whole deployment on this machine: SuperLink over TLS, SuperNodes with keys, one process each, as on many machines.

Every node has a FLWR_HOME of its own.  What it shows holds for real machines; ``docs/deployment.md`` says how to set
those up by hand.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedcrucible.engines.flower.app_folder import stage_app
from fedcrucible.engines.flower.command import FlowerRunError, write_connection
from fedcrucible.engines.flower.environment import free_ports
from fedcrucible.engines.flower.keys import (
    LOOPBACK,
    NodeKey,
    ServerCertificate,
    create_node_key,
    create_server_certificate,
)
from fedcrucible.engines.flower.launch import LOCAL_POLL, superlink_command, supernode_command
from fedcrucible.engines.flower.network import Network
from fedcrucible.engines.flower.processes import ProcessOwner
from fedcrucible.engines.flower.submission import Submission, checked
from fedcrucible.engines.flower.superlink import LOG, wait_until_healthy
from fedcrucible.engines.flower.superlink_access import SuperLinkAccess
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records.schema import RunSummary


@dataclass(frozen=True)
class NodeSpec:
    """One SuperNode: which partition it holds and what it is.

    ``role`` is benign, malicious, or by-seed (the run's configuration chooses, as in simulation).
    """

    partition: int
    role: str = "by-seed"
    data_dir: str = ""
    own_data: bool = False
    """Whether ``data_dir`` holds images of the node's own, which are then its partition."""

    def config(self, partitions: int) -> str:
        """The value of ``--node-config``."""
        words = [f"partition-id={self.partition}", f"num-partitions={partitions}", f"role='{self.role}'"]
        if self.data_dir:
            words.append(f"data-dir='{self.data_dir}'")
        if self.own_data:
            words.append("own-data=true")
        return " ".join(words)


class Deployment(ProcessOwner):
    """Context manager: keys made, SuperLink up, SuperNodes registered and started; all of it gone afterwards.

    SuperNodes may still be connecting when it is entered, which a run waits for.

    ``keys`` is the folder for certificates and keys; without one they are temporary.  ``network`` says on which
    machines the processes run.
    """

    def __init__(self, nodes: Sequence[NodeSpec], keys: Path | None = None, network: Network | None = None) -> None:
        super().__init__()
        self.nodes = tuple(nodes)
        self.keys = keys
        self.network = network or Network()
        self.port = 0
        """The SuperLink's, once it is up."""
        self.supernodes: dict[int, subprocess.Popen[bytes]] = {}
        """The SuperNode processes by partition."""
        self._submission: Submission | None = None

    def run(
        self,
        settings: Mapping[str, Scalar],
        on_line: Callable[[str], None] = print,
        on_start: Callable[[str], None] | None = None,
    ) -> RunSummary:
        """Run one configuration; ``on_line`` gets the ServerApp's lines. Raises ConfigError or FlowerRunError."""
        if self._submission is None:
            raise FlowerRunError("the deployment is not running; use it in a `with` statement")
        return self._submission.run(checked(settings), on_line, on_start=on_start)

    def _start(self) -> None:
        folder = self.processes.folder
        self.port, *node_ports = free_ports(1 + len(self.nodes))
        keys, network, here = self.keys or folder / "keys", self.network, f"{self.network.address}:{self.port}"
        server = create_server_certificate(keys, tuple(dict.fromkeys((*network.names, *LOOPBACK))))
        node_keys = [create_node_key(keys, f"node-{spec.partition}") for spec in self.nodes]
        environment = {**self.processes.environment(), **LOCAL_POLL}
        command = superlink_command(server, network.address, self.port)
        superlink = self.processes.start([*network.server, *command], LOG, environment)
        write_connection(folder / "home", here, server.authority)
        self._submission = Submission(stage_app(folder / "fedcrucible"), environment)
        wait_until_healthy(f"https://{here}/health", superlink, self.processes, LOG, verify=str(server.authority))
        lines = {key.private.name: key.public.read_text(encoding="ascii") for key in node_keys}
        SuperLinkAccess(here, server.authority).register(lines)
        for spec, key, node_port in zip(self.nodes, node_keys, node_ports, strict=True):
            self._start_node(spec, key, server, node_port)

    def _start_node(self, spec: NodeSpec, key: NodeKey, server: ServerCertificate, node_port: int) -> None:
        name, dialled = key.private.name, f"{self.network.name}:{self.port}"
        command = supernode_command(dialled, server.authority, key.private, spec.config(len(self.nodes)), node_port)
        environment = {**self.processes.environment(name), **LOCAL_POLL}
        prefix = self.network.nodes.get(spec.partition, ())
        self.supernodes[spec.partition] = self.processes.start([*prefix, *command], f"{name}.log", environment)
