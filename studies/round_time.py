"""Seconds of a round over a real deployment on this machine, and where they go.

    python -m studies.round_time --model cnn --rounds 4 [--warm] [--payload delta-float16] [--repeats 1] [--imports]

A SuperLink and two SuperNodes, TLS and keys.  The first round is not counted: nodes fetch the app in it.  Printed are
median and minimum of the others, of the node that a round waited for last:

- idle: until the SuperNode asks the SuperLink again (every 3 s, fixed in Flower);
- fetch, send: the model between SuperLink and SuperNode;
- dispatch: until the client's process is there (poll of the SuperExec);
- client: the life of that process; of it the training as the client measured it (reading its data included) and its
  processor time; the rest is start, imports, unpacking the app, and the model's way from and to the SuperNode;
- reply: until the SuperNode sees the answer (it looks every 0.5 s);
- server: poll for replies, check, aggregation, evaluation, record.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fedcrucible.engines.flower.deployment import Deployment, NodeSpec
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records import files
from fedcrucible_core.records.reader import read_rounds

MARKS = {"Receiving:": "receiving", "Received successfully": "received", "Sending:": "sending", "Sent successf": "sent"}
PARTS = ("round", "idle", "fetch", "dispatch", "client", "training", "client CPU", "reply", "send", "server")
LOOK_S = 0.02
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Message:
    """What happened to one message on one node; times of ``time.monotonic``."""

    times: dict[str, float] = field(default_factory=dict)
    cpu_s: float = 0.0

    def between(self, first: str, second: str) -> float:
        """Seconds from one event to another; 0 where the second came first."""
        return max(0.0, self.times.get(second, 0.0) - self.times.get(first, 0.0))


class Watcher(threading.Thread):
    """Looks at the nodes' logs, their clients' processes and the record, every 20 ms."""

    def __init__(self, logs: Sequence[Path], nodes: Sequence[int], record: Path) -> None:
        super().__init__(daemon=True)
        self.logs, self.nodes, self.record = logs, nodes, record
        self.messages: list[list[Message]] = [[] for _ in logs]
        self.recorded: list[float] = []
        """When each round's line was written, round 0 first."""
        self.done = threading.Event()
        self._read = [log.stat().st_size for log in logs]
        self._client: list[int | None] = [None for _ in logs]

    def run(self) -> None:
        while not self.done.wait(LOOK_S):
            now = time.monotonic()
            for index in range(len(self.logs)):
                self._look_at_client(index, now)
                self._look_at_log(index, now)
            lines = self.record.read_bytes().count(b"\n") if self.record.is_file() else 0
            self.recorded += [now] * (lines - len(self.recorded))

    def _look_at_log(self, index: int, now: float) -> None:
        with self.logs[index].open("rb") as log:
            log.seek(self._read[index])
            text = log.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read[index] += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            for mark, name in MARKS.items():
                if mark in line:
                    if name == "receiving":
                        self.messages[index].append(Message())
                    self.messages[index][-1].times[name] = now

    def _look_at_client(self, index: int, now: float) -> None:
        found = next((client for exec_ in _children(self.nodes[index]) for client in _children(exec_)), None)
        if not self.messages[index]:
            return
        message = self.messages[index][-1]
        if found is None:
            if self._client[index] is not None:
                message.times.setdefault("ended", now)
        else:
            if found != self._client[index]:
                message.times["started"] = now
            message.cpu_s = _cpu_s(found) or message.cpu_s
        self._client[index] = found


def _children(pid: int) -> list[int]:
    """Living children of a process."""
    try:
        found = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [child for child in found if (_stat(child) or ["Z"])[0] != "Z"]


def _cpu_s(pid: int) -> float:
    """Processor seconds of a process and its threads so far."""
    stat = _stat(pid)
    return (int(stat[11]) + int(stat[12])) / _TICKS if stat else 0.0


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def settings_of(options: argparse.Namespace, folder: Path) -> dict[str, Scalar]:
    """Two clients with ``--examples`` images each."""
    return {
        "strategy": "fedavg",
        "attack.name": "none",
        "adversary.malicious_fraction": 0.0,
        "model.name": options.model,
        "run.rounds": options.rounds,
        "run.device": "cpu",
        "federation.clients": 2,
        "federation.payload": options.payload,
        "task.train_samples": 2 * options.examples,
        "task.test_samples": 100,
        "partition.name": "iid",
        "output.dir": str(folder),
        "output.name": f"{options.model}-{time.time_ns()}",
        "output.report": False,
    }


def measure(deployment: Deployment, settings: dict[str, Scalar]) -> tuple[list[dict[str, float]], str]:
    """Seconds of each counted round by part, and the final model's digest."""
    record = Path(str(settings["output.dir"])) / str(settings["output.name"]) / files.METRICS
    logs = [deployment.processes.folder / f"node-{partition}.log" for partition in deployment.supernodes]
    watcher = Watcher(logs, [node.pid for node in deployment.supernodes.values()], record)
    watcher.start()
    summary = deployment.run(settings, on_line=lambda _: None)
    time.sleep(2 * LOOK_S)
    watcher.done.set()
    watcher.join()
    trained = [row for row in read_rounds(record) if row.stage == "training"][1:]
    rows = []
    for row, begun, ended in zip(trained[1:], watcher.recorded[1:], watcher.recorded[2:], strict=False):
        own = [
            next((m for m in reversed(of_node) if begun <= m.times.get("sent", 0.0) <= ended), Message())
            for of_node in watcher.messages
        ]
        last = max(range(len(own)), key=lambda index: own[index].times.get("sent", 0.0))
        message, seconds = own[last], row.per_client.get("client_seconds", [])
        rows.append(
            {
                "round": ended - begun,
                "idle": message.times.get("receiving", begun) - begun,
                "fetch": message.between("receiving", "received"),
                "dispatch": message.between("received", "started"),
                "client": message.between("started", "ended"),
                "training": seconds[last] if last < len(seconds) else float("nan"),
                "client CPU": message.cpu_s,
                "reply": message.between("ended", "sending"),
                "send": message.between("sending", "sent"),
                "server": ended - message.times.get("sent", ended),
            }
        )
    return rows, summary.parameters_sha256


def print_imports() -> None:
    """What a client's process imports before it trains, by package: ``python -X importtime``, processor-bound."""
    code = "import flwr.supernode.cli, client_app.app"
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True)
    seconds: dict[str, float] = {}
    for line in done.stderr.splitlines():
        own, _, rest = line.removeprefix("import time:").partition("|")
        name = rest.partition("|")[2].strip().partition(".")[0]
        if own.strip().isdigit():
            seconds[name] = seconds.get(name, 0.0) + int(own) / 1e6
    print(f"imports of a client that starts cold: {sum(seconds.values()):.1f} s under -X importtime")
    for name in sorted(seconds, key=lambda name: -seconds[name])[:8]:
        print(f"  {name:<16} {seconds[name]:6.2f} s")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="cnn")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--examples", type=int, default=150, help="images of each client")
    parser.add_argument("--payload", default="float32")
    parser.add_argument("--repeats", type=int, default=1, help="runs, all in one deployment")
    parser.add_argument("--warm", action="store_true", help="clients forked off a process that has imported PyTorch")
    parser.add_argument("--imports", action="store_true", help="also what a cold client imports")
    options = parser.parse_args()
    if options.imports:
        print_imports()
    rows: list[dict[str, float]] = []
    nodes = [NodeSpec(0, "benign"), NodeSpec(1, "benign")]
    with (
        tempfile.TemporaryDirectory(prefix="round-time-") as folder,
        Deployment(nodes, warm=options.warm) as deployment,
    ):
        for _ in range(options.repeats):
            found, digest = measure(deployment, settings_of(options, Path(folder)))
            rows += found
            shown = ", ".join(f"{row['round']:.1f}" for row in found)
            print(f"model {digest[:12]}, rounds: {shown} s", flush=True)
    clients = "warm" if options.warm else "cold"
    print(f"{options.model}, {clients} clients, payload {options.payload}, {len(rows)} rounds")
    for part in PARTS:
        values = [row[part] for row in rows]
        print(f"  {part:<11} median {statistics.median(values):6.2f} s   minimum {min(values):6.2f} s")


if __name__ == "__main__":
    main()
