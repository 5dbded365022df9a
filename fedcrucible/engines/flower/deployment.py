"""A whole deployment on this machine: SuperLink over TLS, SuperNodes with keys, one process each, as on many machines.

Every node has a FLWR_HOME of its own.  What it shows holds for real machines; ``docs/deployment.md`` says how to set
those up by hand.
"""

from __future__ import annotations

import subprocess
import time
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
from fedcrucible.engines.flower.output import cause
from fedcrucible.engines.flower.processes import ProcessOwner
from fedcrucible.engines.flower.submission import Submission, checked
from fedcrucible.engines.flower.superlink import LOG, START_LIMIT_S, wait_until_healthy
from fedcrucible.engines.flower.superlink_access import ONLINE, SuperLinkAccess
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
    measure_asr: bool | None = None
    """Whether attack success may be measured on its data; None leaves it as it is: not on data of its own."""
    hidden_file: str = ""
    """Of a malicious node: its settings in blind runs."""

    def config(self, partitions: int) -> str:
        """The value of ``--node-config``."""
        words = [f"partition-id={self.partition}", f"num-partitions={partitions}", f"role='{self.role}'"]
        if self.data_dir:
            words.append(f"data-dir='{self.data_dir}'")
        if self.own_data:
            words.append("own-data=true")
        if self.measure_asr is not None:
            words.append(f"measure-asr={str(self.measure_asr).lower()}")
        if self.hidden_file:
            words.append(f"hidden-file='{self.hidden_file}'")
        return " ".join(words)


class Deployment(ProcessOwner):
    """Context manager: keys made, SuperLink up, SuperNodes registered and started; all of it gone afterwards.

    SuperNodes may still be connecting when it is entered, which a run waits for.

    ``keys`` is the folder for certificates and keys; without one they are temporary.  ``network`` says on which
    machines the processes run.  ``warm``: clients are forked off a process that has imported PyTorch.
    """

    def __init__(
        self,
        nodes: Sequence[NodeSpec],
        keys: Path | None = None,
        network: Network | None = None,
        *,
        warm: bool = False,
    ) -> None:
        super().__init__()
        self.warm = warm
        self.nodes = tuple(nodes)
        self.keys = keys
        self.network = network or Network()
        self.supernodes: dict[int, subprocess.Popen[bytes]] = {}
        """The SuperNode processes by partition."""
        self.database: Path | None = None
        """File of the SuperLink's state; None: in memory. To be set before it is entered."""
        self._submission: Submission | None = None
        self._server: ServerCertificate | None = None
        self._node_keys: dict[int, NodeKey] = {}
        self._ports: dict[int | None, int] = {}
        """The SuperLink's port (None) and each partition's own."""

    def run(
        self,
        settings: Mapping[str, Scalar],
        on_line: Callable[[str], None] = print,
        on_start: Callable[[str], None] | None = None,
    ) -> RunSummary:
        """Run one configuration; ``on_line`` gets the ServerApp's lines. Raises ConfigError or FlowerRunError."""
        return self._running().run(checked(settings), on_line, on_start=on_start)

    def ready(self, limit_s: float = START_LIMIT_S) -> Submission:
        """Wait until all nodes are online; returns how to submit runs to them, of any app. Raises FlowerRunError.

        Our own app waits for its nodes by itself; another begins with whoever is there.
        """
        submission, deadline = self._running(), time.monotonic() + limit_s
        while missing := self._not_online():
            ended = [name for partition, name in missing.items() if self.supernodes[partition].poll() is not None]
            if ended or time.monotonic() >= deadline:
                name = (ended or list(missing.values()))[0]
                tail = self.processes.log_tail(f"{name}.log")
                why = "has ended" if ended else f"is not online after {limit_s:.0f} s"
                raise FlowerRunError(f"{name} {why}: {cause(tail)}\nThe end of its log:\n{tail}")
            time.sleep(0.5)
        return submission

    def _running(self) -> Submission:
        if self._submission is None:
            raise FlowerRunError("the deployment is not running; use it in a `with` statement")
        return self._submission

    def _not_online(self) -> dict[int, str]:
        """Names, by partition, of the nodes that were started and that the SuperLink doesn't see."""
        online = {node.name for node in self.access().nodes().values() if node.state == ONLINE}
        names = {partition: self._node_keys[partition].private.name for partition in self.supernodes}
        return {partition: name for partition, name in names.items() if name not in online}

    @property
    def address(self) -> str:
        """The SuperLink's ``host:port``, as this process dials it."""
        return f"{self.network.address}:{self.port}"

    @property
    def port(self) -> int:
        """The SuperLink's, once it is up."""
        return self._ports[None]

    def _start(self) -> None:
        folder = self.processes.folder
        names = [None, *(spec.partition for spec in self.nodes)]
        self._ports = dict(zip(names, free_ports(len(names)), strict=True))
        keys = self.keys or folder / "keys"
        self._server = create_server_certificate(keys, tuple(dict.fromkeys((*self.network.names, *LOOPBACK))))
        self._node_keys = {spec.partition: create_node_key(keys, f"node-{spec.partition}") for spec in self.nodes}
        superlink = self._launch_superlink()
        write_connection(folder / "home", self.address, self._server.authority)
        self._submission = Submission(stage_app(folder / "fedcrucible"), self._environment())
        self._wait_for_superlink(superlink)
        keys_of = {key.private.name: key.public.read_text(encoding="ascii") for key in self._node_keys.values()}
        self.access().register(keys_of)
        for spec in self._first_nodes():
            self._start_node(spec)

    def access(self) -> SuperLinkAccess:
        """What an administrator does at the SuperLink."""
        assert self._server is not None
        return SuperLinkAccess(self.address, self._server.authority)

    def _first_nodes(self) -> Sequence[NodeSpec]:
        """The nodes that are there from the beginning."""
        return self.nodes

    def _environment(self, home: str = "home") -> dict[str, str]:
        return {**self.processes.environment(home), **LOCAL_POLL}

    def _launch_superlink(self) -> subprocess.Popen[bytes]:
        assert self._server is not None
        command = superlink_command(self._server, self.network.address, self.port, self.database)
        return self.processes.start([*self.network.server, *command], LOG, self._environment())

    def _wait_for_superlink(self, process: subprocess.Popen[bytes]) -> None:
        assert self._server is not None
        authority = str(self._server.authority)
        wait_until_healthy(f"https://{self.address}/health", process, self.processes, LOG, verify=authority)

    def _start_node(self, spec: NodeSpec) -> None:
        key = self._node_keys[spec.partition]
        self.supernodes[spec.partition] = self._launch_node(spec, key, self._ports[spec.partition], key.private.name)

    def _launch_node(self, spec: NodeSpec, key: NodeKey, port: int, name: str) -> subprocess.Popen[bytes]:
        assert self._server is not None
        dialled = f"{self.network.name}:{self.port}"
        command = supernode_command(
            dialled, self._server.authority, key.private, spec.config(len(self.nodes)), port, warm=self.warm
        )
        prefix = self.network.nodes.get(spec.partition, ())
        return self.processes.start(
            [*prefix, *self._node_command(spec, command)], f"{name}.log", self._environment(name)
        )

    def _node_command(self, spec: NodeSpec, command: list[str]) -> list[str]:  # noqa: ARG002
        """The command line of a node, from the usual one."""
        return command
