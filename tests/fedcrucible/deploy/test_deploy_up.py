"""`fedcrucible deploy` for real: TLS, keys, three nodes, one of them malicious; the in-process model, nothing left."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fedcrucible.deploy.ledger import read_ledger
from fedcrucible.engines.flower import guard
from fedcrucible.engines.flower.environment import free_ports
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
    mark = read_ledger(tmp_path / "state").mark
    try:
        assert deploy("up", topology).strip() == "everything runs already"
        said = deploy("run", topology, "--json", *(f"{key}={value}" for key, value in settings.items()))
        status = json.loads(deploy("status", topology, "--json"))
        assert [process["role"] for process in status["processes"]] == ["server", *roles]
        assert status["nodes"] == {"online": 3}
        assert "==> " in deploy("logs", topology, "site-2")
    finally:
        deploy("down", topology)
    assert guard.marked(mark) == []
    assert "not started" in deploy("status", topology, code=1)
    here = run_in_process(
        Plan.make(load({**settings, "federation.clients": 3, "adversary.malicious_ids": "2"})),
    )
    assert json.loads(said.splitlines()[-1])["sha256"] == here.parameters_sha256
