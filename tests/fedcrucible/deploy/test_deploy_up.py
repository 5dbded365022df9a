"""`fedcrucible deploy` for real: TLS, keys, three nodes, one of them malicious; the in-process model, nothing left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedcrucible.deploy.ledger import read_ledger
from fedcrucible.deploy.operator import Operator
from fedcrucible.deploy.topology import load_topology
from fedcrucible.engines.flower import guard
from fedcrucible.engines.flower.environment import free_ports
from fedcrucible.engines.flower.superlink_access import SuperLinkAccess
from fedcrucible.engines.in_process import run_in_process
from fedcrucible_core.config.load import load
from fedcrucible_core.config.values import Scalar
from server_app.plan import Plan

pytestmark = pytest.mark.slow


def deploy(*words: object, code: int = 0) -> str:
    """A command in a process of its own, as an operator runs it."""
    command = [sys.executable, "-m", "fedcrucible", "deploy", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def ended_within(operator: Operator, limit_s: float) -> list[str]:
    """Names of the processes that have ended, as soon as there are any."""
    deadline = time.monotonic() + limit_s
    while not (ended := [process.name for process in operator.status() if process.ended]):
        if time.monotonic() > deadline:
            break
        time.sleep(0.2)
    return ended


def killed_and_restored(topology: Path, superlink: str) -> None:
    """A SuperLink that dies comes back with its database and its nodes with their ids; without it they are new ones."""
    operator = Operator(load_topology(topology))
    state, access = operator.folder, SuperLinkAccess(superlink, operator.server.authority)

    def ids() -> dict[str, str]:
        return {key: node.node_id for key, node in access.nodes().items()}

    before = ids()
    os.kill(read_ledger(state).processes["superlink"].pid, signal.SIGKILL)
    assert ended_within(operator, 30.0) == ["superlink"]
    assert operator.up(print) == ["superlink"]
    assert ids() == before
    deadline = time.monotonic() + 90
    while operator.nodes() != {"online": len(before)} and time.monotonic() < deadline:
        time.sleep(0.5)
    assert operator.nodes() == {"online": len(before)}, "the nodes that ran on are back"
    operator.down()
    backup = state.with_name("backup")
    backup.mkdir()
    for path in state.glob("superlink.db*"):
        path.rename(backup / path.name)
    operator.up(print)
    without = ids()
    assert without.keys() == before.keys(), "every site is registered again"
    assert not set(without.values()) & set(before.values()), "as a node that nobody knew"
    operator.down()
    for path in state.glob("superlink.db*"):
        path.unlink()
    for path in backup.iterdir():
        path.rename(state / path.name)
    operator.up(print)
    assert ids() == before


def test_up_run_down(tmp_path: Path) -> None:
    port, *node_ports = free_ports(4)
    roles = ("benign", "benign", "malicious")
    sites = [
        f'[[sites]]\nname = "site-{index}"\npartition = {index}\nrole = "{role}"\nport = {node_port}\n'
        for index, (role, node_port) in enumerate(zip(roles, node_ports, strict=True))
    ]
    topology = tmp_path / "lab.toml"
    topology.write_text("\n".join([f"warm_clients = true\n[superlink]\nport = {port}\n", *sites]), encoding="utf-8")
    settings: dict[str, Scalar] = {
        "strategy": "fedavg",
        "run.rounds": 2,
        "run.device": "cpu",
        "task.train_samples": 300,
        "task.test_samples": 100,
        "model.name": "resnet8",
        "model.resnet8.width": 8,
        "attack.name": "badnets",
        "output.report": False,
        "output.dir": str(tmp_path / "runs"),
    }
    assert deploy("up", topology).strip() == "started superlink, site-0, site-1, site-2"
    try:
        assert deploy("up", topology).strip() == "everything runs already"
        said = deploy("run", topology, "--json", *(f"{key}={value}" for key, value in settings.items()))
        status = json.loads(deploy("status", topology, "--json"))
        assert [process["role"] for process in status["processes"]] == ["server", *roles]
        assert status["nodes"] == {"online": 3}
        assert "==> " in deploy("logs", topology, "site-2")
        killed_and_restored(topology, f"127.0.0.1:{port}")
    finally:
        mark = read_ledger(tmp_path / "state").mark
        deploy("down", topology)
    assert guard.marked(mark) == []
    assert "not started" in deploy("status", topology, code=1)
    here = run_in_process(
        Plan.make(load({**settings, "federation.clients": 3, "adversary.malicious_ids": "2"})),
    )
    assert json.loads(said.splitlines()[-1])["sha256"] == here.parameters_sha256
