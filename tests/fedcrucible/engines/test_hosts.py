"""A SuperLink and three SuperNodes on hosts of their own; one attacks, one loses its cable in the middle of a round."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from fedcrucible.engines.flower.deployment import Deployment, NodeSpec
from fedcrucible.engines.flower.network import Network
from fedcrucible.engines.in_process import run_in_process
from fedcrucible_core.config.load import load
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records import files
from fedcrucible_core.records.reader import read_rounds
from server_app.plan import Plan
from tests.support.hosts import Host, hosts, unavailable

pytestmark = [pytest.mark.slow, pytest.mark.long]
SERVER, CUT = "superlink", "site-1"
CUT_LIMIT_S = 60.0
Findings = dict[str, dict[str, str]]


class Cable:
    """What happens to one site's cable while its node trains, and what ``preflight`` there says of it."""

    def __init__(self, deployment: Deployment, host: Host) -> None:
        self.deployment = deployment
        self.host = host
        self.findings: dict[str, Findings] = {}
        self._thread = Thread(target=self._cut)

    def on_line(self, line: str) -> None:
        """The server's lines: after round 0 the messages of round 1 go out."""
        if line.startswith("round 0/"):
            self._thread.start()

    def _cut(self) -> None:
        log = self.deployment.processes.folder / "node-1.log"
        deadline = time.monotonic() + CUT_LIMIT_S
        while b"train message" not in log.read_bytes() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.host.link("down")
        self.findings["down"] = self.preflight()
        self.host.link("up")
        self.findings["up"] = self.preflight()

    def preflight(self) -> Findings:
        """The command on the site's host, as its people would type it."""
        keys = self.deployment.processes.folder / "keys"
        options = ["--superlink", f"{SERVER}:{self.deployment.port}", "--ca", str(keys / "ca.crt")]
        command = [sys.executable, "-m", "fedcrucible", "preflight", *options, "--key", str(keys / "node-1"), "--json"]
        done = subprocess.run([*self.host.prefix, *command], capture_output=True, text=True, check=False)
        return {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}

    def ended(self) -> None:
        """Wait for all of it."""
        self._thread.join(CUT_LIMIT_S)
        assert self.findings.keys() == {"down", "up"}


def test_a_cable_out_and_in_again_costs_nothing(settings: dict[str, Scalar]) -> None:
    if missing := unavailable():
        pytest.skip(missing)
    chosen: dict[str, Any] = {**settings, "federation.clients": 3}
    nodes = [NodeSpec(0, "benign"), NodeSpec(1, "malicious"), NodeSpec(2, "benign")]
    with hosts([SERVER, "site-0", CUT, "site-2"]) as made:
        prefixes = {spec.partition: made[f"site-{spec.partition}"].prefix for spec in nodes}
        network = Network(made[SERVER].address, SERVER, made[SERVER].prefix, prefixes)
        with Deployment(nodes, network=network) as deployment:
            cable = Cable(deployment, made[CUT])
            summary = deployment.run(chosen, cable.on_line)
            cable.ended()
    down, up = cable.findings["down"], cable.findings["up"]
    assert down["DNS"]["status"] == "ok"
    assert down["port"]["status"] == "fail"
    assert down["TLS"]["detail"] == "not checked: needs an open port"
    assert {up[name]["status"] for name in ("DNS", "port", "TLS", "skew", "file", "registered")} == {"ok"}
    assert f"{SERVER} is {made[SERVER].address}" in up["DNS"]["detail"]
    assert up["TLS"]["detail"].startswith(f"certificate of {SERVER}, {made[SERVER].address}")

    assert (summary.dropped, summary.state) == ({}, "ok")
    last = read_rounds(Path(summary.folder) / files.METRICS)[-1]
    assert (last.participants, last.malicious) == ((0, 1, 2), (1,))
    assert summary.parameters_sha256 == run_in_process(Plan.make(load(chosen))).parameters_sha256
