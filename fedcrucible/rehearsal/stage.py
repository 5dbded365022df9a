"""A deployment whose parts a rehearsal can end, start again and turn away."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedcrucible.engines.flower.deployment import Deployment, NodeSpec
from fedcrucible.engines.flower.environment import free_ports
from fedcrucible.engines.flower.keys import NodeKey, create_node_key
from fedcrucible.engines.flower.node_keys import fingerprint, parse_public_key
from fedcrucible.rehearsal.disk import Disk
from fedcrucible.rehearsal.grammar import Programme

SERVER = "flwr-serverapp"
STRANGER = "stranger"
FIRST_PACE_S = 3.0
"""Seconds that a round is taken to last before one was seen."""
_REFUSAL = "[code:"
"""Begins the line of a node's log that says why it was turned away."""
_STILL_TRYING = "retrying in"
"""In lines of processes that a node has left behind."""
REPEATING = "fedcrucible.rehearsal.repeating_node"


class ServerEndedError(Exception):
    """The server was ended on purpose, and the run with it; the text says by what, and when."""


@dataclass(frozen=True)
class RehearsedNode(NodeSpec):
    """A node with what it shall do wrong, ``fault@round,fault@round``."""

    wrong: str = ""

    def config(self, partitions: int) -> str:
        """As of every node, and the switch of its misbehaviour."""
        usual = super().config(partitions)
        return f"{usual} rehearsal='{self.wrong}'" if self.wrong else usual


class Stage(Deployment):
    """The federation of one programme; its SuperLink keeps its state on disk."""

    def __init__(self, programme: Programme, seed: int, disk: Disk) -> None:
        super().__init__([RehearsedNode(i, "benign", wrong=programme.node_plan(i)) for i in range(programme.nodes)])
        self.programme = programme
        self.disk = disk
        self.stranger: subprocess.Popen[bytes] | None = None
        self.stranger_key = ""
        """Fingerprint of the key that is never registered."""
        self.full = False
        self._died: frozenset[int] = frozenset()
        self._superlink: subprocess.Popen[bytes] | None = None
        self._moments = random.Random(f"rehearsal/{seed}")
        self._last, self._pace = time.monotonic(), FIRST_PACE_S

    # --- what faults do -------------------------------------------------------------------------------------------

    def start_site(self, site: int) -> None:
        """Start a site's SuperNode with its own key and port, unless it runs."""
        self._died |= self.died()
        running = self.supernodes.get(site)
        if running is None or running.poll() is not None:
            self._start_node(self.nodes[site])

    def revoke_site(self, site: int) -> None:
        """Unregister a site's key. Raises FlowerRunError."""
        self.access().unregister(_fingerprint_of(self._node_keys[site]))

    def kill_server(self) -> None:
        """Kill the server at a seeded moment within a round's usual time. Raises ServerEndedError when done."""
        waited = self._moments.uniform(0.0, self._pace)
        time.sleep(waited)
        deadline = time.monotonic() + 60.0
        while not (servers := self.servers()) and time.monotonic() < deadline:
            time.sleep(0.1)
        for pid in servers:
            os.kill(pid, signal.SIGKILL)
        raise ServerEndedError(f"server process killed {waited:.1f} s into the round" if servers else "no server found")

    def restart_superlink(self) -> None:
        """Kill the SuperLink and its descendants, start it on its database. Raises ServerEndedError when it answers."""
        assert self._superlink is not None
        os.killpg(self._superlink.pid, signal.SIGKILL)
        self._superlink.wait()
        start = time.monotonic()
        self._wait_for_superlink(self._launch_superlink())
        raise ServerEndedError(f"SuperLink killed, it answers again after {time.monotonic() - start:.0f} s")

    def fill_disk(self) -> None:
        """Leave no room; the run then fails by itself."""
        self.full = True
        self.disk.fill(self.servers())

    def tick(self, round: int) -> None:
        """Told when a round has ended: how long rounds take decides when a server is killed.

        Round 0 is no measure: it waits for the nodes.
        """
        now = time.monotonic()
        if round:
            self._pace = now - self._last
        self._last = now

    def begins(self) -> None:
        """Told when a run has been accepted."""
        self._last = time.monotonic()

    # --- what is seen of it ---------------------------------------------------------------------------------------

    def servers(self) -> list[int]:
        """Ids of the living server processes."""
        return [pid for pid in self.processes.alive() if SERVER in _command_of(pid)]

    def died(self) -> frozenset[int]:
        """Sites whose SuperNode has ended, now or before it was started again."""
        return self._died | {site for site, node in self.supernodes.items() if node.poll() is not None}

    def last_words(self, process: subprocess.Popen[bytes] | None, log: str, limit_s: float = 60.0) -> str:
        """What a SuperNode that is to end by itself says at last; empty where it goes on running."""
        if process is None:
            return ""
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return ""
        lines = [line.strip() for line in self.processes.log_tail(log, 500).split("\n")]
        said = [line for line in lines if line and _STILL_TRYING not in line]
        refusals = [line for line in said if line.startswith(_REFUSAL)]
        return (refusals or said or ["it ended without a word"])[-1]

    # --- how it starts --------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self.database = self.processes.folder / "superlink.db"
        super()._start()
        if self.programme.of("stale-key"):
            (placed,) = self.programme.of("stale-key")[:1]
            key = create_node_key(self.processes.folder / "stale", STRANGER)
            self.stranger_key = _fingerprint_of(key)
            self.stranger = self._stranger(placed.site or 0, key)

    def _stranger(self, site: int, key: NodeKey) -> subprocess.Popen[bytes]:
        (port,) = free_ports(1)
        return self._launch_node(NodeSpec(site, "benign"), key, port, STRANGER)

    def _launch_superlink(self) -> subprocess.Popen[bytes]:
        self._superlink = super()._launch_superlink()
        return self._superlink

    def _first_nodes(self) -> Sequence[NodeSpec]:
        return [spec for spec in self.nodes if spec.partition not in self.programme.latecomers]

    def _node_command(self, spec: NodeSpec, command: list[str]) -> list[str]:
        repeats = any(placed.site == spec.partition for placed in self.programme.of("duplicate"))
        own = isinstance(spec, RehearsedNode)
        return [sys.executable, "-m", REPEATING, *command[1:]] if repeats and own else command


def _fingerprint_of(key: NodeKey) -> str:
    return fingerprint(parse_public_key(key.public.read_text(encoding="ascii")))


def _command_of(pid: int) -> str:
    """The command line of a process; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        told = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return told.stdout
