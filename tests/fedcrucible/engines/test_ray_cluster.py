"""Simulation on a Ray cluster of two nodes: clients run on both of them, the model is the in-process one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedcrucible.engines.flower.environment import free_ports
from fedcrucible.engines.flower.processes import ProcessSet
from fedcrucible.engines.flower.simulation import run_simulation
from fedcrucible.engines.flower.superlink import LocalSuperLink
from fedcrucible.engines.in_process import run_in_process
from fedcrucible_core.config.load import load
from fedcrucible_core.config.values import Scalar
from server_app.plan import Plan

pytestmark = [pytest.mark.slow, pytest.mark.long]
RAY = (sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1", "--disable-usage-stats")
START_LIMIT_S = 120.0
PATIENCE = {"RAY_raylet_start_wait_time_s": "100"}
"""On a busy machine a node takes longer than the 30 s that Ray gives it."""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProcessSet]:
    """Two Ray nodes of one CPU each, named by RAY_ADDRESS, as on two machines with one file system."""
    address = f"127.0.0.1:{free_ports(1)[0]}"
    with ProcessSet() as nodes:
        port = address.rpartition(":")[2]
        places = (
            ("head", ("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={nodes.folder}/ray")),
            ("worker", (f"--address={address}",)),
        )
        for name, options in places:
            process = nodes.start(
                [*RAY, "--node-ip-address=127.0.0.1", *options], f"{name}.log", {**nodes.environment(), **PATIENCE}
            )
            _wait(process, nodes, f"{name}.log")
        monkeypatch.setenv("RAY_ADDRESS", address)
        yield nodes


def _wait(process: subprocess.Popen[bytes], nodes: ProcessSet, log: str) -> None:
    """Wait until Ray says that a node runs; skip with its own words where it may not or can't."""
    deadline = time.monotonic() + START_LIMIT_S
    while "Ray runtime started" not in nodes.log_tail(log, 40):
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.skip(f"no Ray node can be started here: {nodes.log_tail(log)}")
        time.sleep(0.2)


def _actors() -> set[tuple[int, int]]:
    """Living actors of Flower: process id of each, and that of the Ray node it belongs to."""
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cmdline").read_bytes().startswith(b"ray::ClientAppActor"):
                found.add((int(entry.name), int((entry / "stat").read_text().rpartition(")")[2].split()[1])))
        except OSError:
            continue  # ended meanwhile
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks /proc which Ray node an actor belongs to")
def test_two_ray_nodes_and_the_in_process_engine_end_in_the_same_model(
    settings: dict[str, Scalar], cluster: ProcessSet
) -> None:
    seen = set[tuple[int, int]]()
    expected = run_in_process(Plan.make(load(settings)))
    with LocalSuperLink() as superlink:
        summary = run_simulation(settings, superlink=superlink, on_line=lambda line: seen.update(_actors()))
    assert summary.parameters_sha256 == expected.parameters_sha256
    assert summary.asr_percent == expected.asr_percent
    ours = set(cluster.alive())
    nodes = {parent for _, parent in seen if parent in ours}
    assert len(nodes) == 2, "one actor on each node"
    assert os.environ["RAY_ADDRESS"], "and the cluster outlives the run"
    assert nodes <= set(cluster.alive())
