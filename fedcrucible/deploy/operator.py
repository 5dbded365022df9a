"""Starting, judging and ending a deployment's processes on this machine; they outlive the command that starts them."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedcrucible.deploy.keys import make_keys, public_keys
from fedcrucible.deploy.ledger import LEDGER, Ledger, Started, read_ledger, start_time
from fedcrucible.deploy.topology import SUPERLINK, Site, Topology, server_files
from fedcrucible.engines.flower import guard
from fedcrucible.engines.flower.command import FlowerRunError
from fedcrucible.engines.flower.expiry import certificate_notes
from fedcrucible.engines.flower.launch import LOCAL_POLL, superlink_command, supernode_command
from fedcrucible.engines.flower.processes import Processes
from fedcrucible.engines.flower.superlink import wait_until_healthy
from fedcrucible.engines.flower.superlink_access import SuperLinkAccess
from fedcrucible_core.config.errors import ConfigError
from fedcrucible_core.records.lock import FolderBusyError, only_writer


@dataclass(frozen=True)
class ProcessStatus:
    """One process of the description: ``pid`` is None where it doesn't run, ``ended`` whether it once did."""

    name: str
    role: str
    pid: int | None
    ended: bool
    log: Path


class Operator:
    """One description's processes on this machine."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.folder = topology.state_folder
        self.server = server_files(topology.keys_folder)

    def up(self, say: Callable[[str], None]) -> list[str]:
        """Start whatever of the description doesn't run; returns the names of what was started.

        Where the first start of all fails nothing is left running. Raises ConfigError, FlowerRunError.
        """
        with self._alone():
            for path in make_keys(self.topology, self.topology.keys_folder):
                say(f"made {path}")
            before = read_ledger(self.folder)
            running = {} if before is None else before.running()
            self._require_same(running)
            ledger = before if before is not None and running else self._fresh(before)
            try:
                return self._start_missing(ledger, set(running), say)
            except BaseException:
                if not running:
                    guard.end(ledger.mark)
                    (self.folder / LEDGER).unlink(missing_ok=True)
                raise

    def down(self) -> list[str]:
        """End everything that was started, descendants included; returns the names of what still ran.

        Raises FlowerRunError where a process doesn't end.
        """
        with self._alone():
            ledger = read_ledger(self.folder)
            if ledger is None:
                return []
            running = list(ledger.running())
            if not guard.end(ledger.mark):
                left = ", ".join(map(str, guard.marked(ledger.mark)))
                raise FlowerRunError(f"processes {left} don't end; `deploy down` again, or end them by hand")
            (self.folder / LEDGER).unlink(missing_ok=True)
            return running

    def status(self) -> list[ProcessStatus]:
        """All processes of the description, and those that run though it no longer names them."""
        ledger = read_ledger(self.folder) or Ledger(mark="")
        running = ledger.running() if ledger.mark else {}
        roles = {SUPERLINK: "server", **{site.name: site.role for site in self.topology.sites}}
        return [
            ProcessStatus(
                name,
                roles.get(name, "not in the description"),
                running[name].pid if name in running else None,
                name in ledger.processes and name not in running,
                self.log(name),
            )
            for name in dict.fromkeys([*roles, *running])
        ]

    def nodes(self) -> dict[str, int]:
        """How many registered nodes the SuperLink sees in each state (online, offline, ...). Raises FlowerRunError."""
        return dict(Counter(node.state for node in self._access().nodes().values()))

    def certificate(self) -> list[str]:
        """What is to be said of the server's certificate: that it ends soon, has ended, or is not yet in use."""
        return certificate_notes(self.server.certificate, self.topology.dialled_here)

    def log(self, name: str) -> Path:
        """The log of one process."""
        return self.folder / "logs" / f"{name}.log"

    def _start_missing(self, ledger: Ledger, running: set[str], say: Callable[[str], None]) -> list[str]:
        missing = [site for site in self.topology.sites if site.name not in running]
        if SUPERLINK in running and not missing:
            return []
        processes, started = Processes(self.folder, ledger.mark), []
        if SUPERLINK not in running:
            ledger = self._start(processes, ledger, SUPERLINK, self._superlink())
            started.append(SUPERLINK)
            say(f"SuperLink: https://{self.topology.dialled_here}")
        # A SuperLink that has just been started may have lost its database: nodes that run are registered again, too.
        refused = self._register(self.topology.sites if SUPERLINK in started else missing, say)
        for site in missing:
            if site.name in refused:
                continue
            ledger = self._start(processes, ledger, site.name, self._supernode(site))
            started.append(site.name)
            say(f"SuperNode {site.name}: partition {site.partition}, {site.role}")
        return started

    def _start(self, processes: Processes, ledger: Ledger, name: str, command: Sequence[str]) -> Ledger:
        """Start one process and write it down at once; one that is ended before that still carries the mark."""
        environment = {**processes.environment(f"homes/{name}"), **LOCAL_POLL}
        log = str(self.log(name).relative_to(self.folder))
        self.log(name).parent.mkdir(exist_ok=True)
        child = processes.start(command, log, environment)
        entry = Started(pid=child.pid, started=start_time(child.pid), command=tuple(command), log=log)
        ledger = ledger.with_process(name, entry)
        ledger.write(self.folder)
        if name == SUPERLINK:
            url = f"https://{self.topology.dialled_here}/health"
            wait_until_healthy(url, child, processes, log, verify=str(self.server.authority))
        return ledger

    def _register(self, sites: Sequence[Site], say: Callable[[str], None]) -> set[str]:
        """Make the SuperLink know the sites' keys; returns the sites whose keys it lets in no more."""
        keys = public_keys(self.topology, self.topology.keys_folder)
        done = self._access().register({site.name: keys[site.name] for site in sites})
        new = [name for name, registration in done.items() if registration.new]
        if new:
            say(f"registered {', '.join(new)}")
        refused = {name: registration.refused for name, registration in done.items() if registration.refused}
        for name, why in refused.items():
            say(f"SuperNode {name} is not started: {why}")
        return set(refused)

    def _access(self) -> SuperLinkAccess:
        return SuperLinkAccess(self.topology.dialled_here, self.server.authority)

    def _superlink(self) -> list[str]:
        table = self.topology.superlink
        return superlink_command(self.server, table.address, table.port, self.topology.database.resolve())

    def _supernode(self, site: Site) -> list[str]:
        topology = self.topology
        config = topology.node_config(site, topology.data_folder(site))
        key = topology.keys_folder / site.name
        return supernode_command(
            topology.dialled_here,
            self.server.authority,
            key,
            config,
            topology.node_port(site),
            warm=topology.warm_clients,
        )

    def _require_same(self, running: dict[str, Started]) -> None:
        """What runs must be what the description says now: nothing is restarted behind an operator's back."""
        wanted = {SUPERLINK: self._superlink(), **{site.name: self._supernode(site) for site in self.topology.sites}}
        for name, process in running.items():
            if name not in wanted:
                raise ConfigError("topology", name, "runs but is no longer in the description; `deploy down` first")
            if list(process.command) != wanted[name]:
                raise ConfigError("topology", name, "runs with what the description said before; `deploy down` first")

    def _fresh(self, before: Ledger | None) -> Ledger:
        """A new list, on disk before the first process starts; what an older one's processes left behind is ended."""
        if before is not None:
            guard.end(before.mark)
        ledger = Ledger.new()
        ledger.write(self.folder)
        return ledger

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One command at a time."""
        try:
            with only_writer(self.folder):
                yield
        except FolderBusyError:
            raise ConfigError("state", str(self.folder), "another `deploy` command is at work there") from None
