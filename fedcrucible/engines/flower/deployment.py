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
from fedcrucible.engines.flower.keys import NodeKey, ServerCertificate, create_node_key, create_server_certificate
from fedcrucible.engines.flower.launch import LOCAL_POLL, superlink_command, supernode_command
from fedcrucible.engines.flower.processes import ProcessOwner
from fedcrucible.engines.flower.registration import register
from fedcrucible.engines.flower.submission import Submission, checked
from fedcrucible.engines.flower.superlink import LOG, wait_until_healthy
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

    ``keys`` is the folder for certificates and keys; without one they are temporary.  ``warm``: clients are forked
    off a process that has imported PyTorch.
    """

    def __init__(self, nodes: Sequence[NodeSpec], keys: Path | None = None, *, warm: bool = False) -> None:
        super().__init__()
        self.warm = warm
        self.nodes = tuple(nodes)
        self.keys = keys
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
        port, *node_ports = free_ports(1 + len(self.nodes))
        keys = self.keys or folder / "keys"
        server = create_server_certificate(keys)
        node_keys = [create_node_key(keys, f"node-{spec.partition}") for spec in self.nodes]
        environment = {**self.processes.environment(), **LOCAL_POLL}
        superlink = self.processes.start(superlink_command(server, "127.0.0.1", port), LOG, environment)
        write_connection(folder / "home", f"127.0.0.1:{port}", server.authority)
        self._submission = Submission(stage_app(folder / "fedcrucible"), environment)
        wait_until_healthy(
            f"https://127.0.0.1:{port}/health", superlink, self.processes, LOG, verify=str(server.authority)
        )
        register(self._submission, {key.private.name: key.public for key in node_keys})
        for spec, key, node_port in zip(self.nodes, node_keys, node_ports, strict=True):
            self._start_node(spec, key, server, port, node_port)

    def _start_node(self, spec: NodeSpec, key: NodeKey, server: ServerCertificate, port: int, node_port: int) -> None:
        name = key.private.name
        command = supernode_command(
            f"127.0.0.1:{port}", server.authority, key.private, spec.config(len(self.nodes)), node_port, warm=self.warm
        )
        environment = {**self.processes.environment(name), **LOCAL_POLL}
        self.supernodes[spec.partition] = self.processes.start(command, f"{name}.log", environment)
