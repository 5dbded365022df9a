"""Submitting a run of an app that isn't ours: what `flwr` is told, what comes back, and nodes that aren't there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from fedcrucible.engines.flower.command import FlowerRunError
from fedcrucible.engines.flower.deployment import Deployment, NodeSpec
from fedcrucible.engines.flower.keys import create_node_key
from fedcrucible.engines.flower.submission import Submission
from fedcrucible.engines.flower.superlink_access import KnownNode

FAKE = """#!{python}
import json, pathlib, sys
if sys.argv[1] == "run":
    settings = pathlib.Path(sys.argv[sys.argv.index("-c") + 1]).read_text()
    pathlib.Path("told.json").write_text(json.dumps([sys.argv[2:], settings]))
    print("Successfully started run 7\\nINFO :      Starting\\nround 0: {{}}")
else:
    print(json.dumps({{"runs": [{{"status": "finished:{status}", "status-details": "because"}}]}}))
"""


def submission(folder: Path, status: str) -> Submission:
    """By a `flwr` that runs nothing and says that the run has ended like this."""
    command = folder / "flwr"
    command.write_text(FAKE.format(python=sys.executable, status=status), encoding="utf-8")
    command.chmod(0o755)
    return Submission(folder / "ours", {**os.environ, "PATH": str(folder)})


def end(process: subprocess.Popen[bytes]) -> None:
    process.stdin.close()
    process.wait()


def test_another_app_is_submitted_with_its_settings_and_its_server_is_heard(tmp_path: Path) -> None:
    lines: list[str] = []
    changed = {"rounds": 2, "save-to": 'a"b'}
    submission(tmp_path, "completed").submit(tmp_path / "app", changed, lines.append, "num-supernodes=3")
    assert lines == ["round 0: {}"]
    arguments, settings = json.loads((tmp_path / "told.json").read_text(encoding="utf-8"))
    assert arguments[0] == str(tmp_path / "app")
    assert arguments[-2:] == ["--federation-config", "num-supernodes=3"]
    assert tomllib.loads(settings) == changed
    assert not list(tmp_path.glob("settings-*"))


def test_a_run_that_failed_is_an_error_whatever_its_server_printed(tmp_path: Path) -> None:
    with pytest.raises(FlowerRunError, match="ended as finished:failed: because"):
        submission(tmp_path, "failed").submit(tmp_path / "app", {}, lambda line: None)
    assert not list(tmp_path.glob("settings-*"))


class TestReady:
    """Waiting for two nodes that are no SuperNodes."""

    @pytest.fixture
    def states(self) -> list[str]:
        """What the SuperLink says of node 1 each time when it is asked; the last one for good."""
        return []

    @pytest.fixture
    def deployment(self, states: list[str], tmp_path: Path, monkeypatch) -> Iterator[Deployment]:
        made = Deployment([NodeSpec(0), NodeSpec(1)])
        made.processes.folder = tmp_path
        made._submission = submission(tmp_path, "completed")
        for spec in made.nodes:
            made._node_keys[spec.partition] = create_node_key(tmp_path / "keys", f"node-{spec.partition}")
            made.supernodes[spec.partition] = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)

        def nodes() -> dict[str, KnownNode]:
            said = ["online", states.pop(0) if len(states) > 1 else states[0]]
            return {f"key {i}": KnownNode(str(i), f"node-{i}", state) for i, state in enumerate(said)}

        monkeypatch.setattr(made, "access", lambda: SimpleNamespace(nodes=nodes))
        yield made
        for process in made.supernodes.values():
            end(process)

    def test_it_lasts_until_all_are_online(self, deployment: Deployment, states: list[str]) -> None:
        states += ["registered", "online"]
        assert deployment.ready() is deployment._submission
        assert states == ["online"]

    def test_a_node_that_stays_away_is_named(self, deployment: Deployment, states: list[str]) -> None:
        states.append("registered")
        with pytest.raises(FlowerRunError, match="node-1 is not online after 0 s: it said nothing"):
            deployment.ready(limit_s=0.0)

    def test_a_node_that_has_ended_is_named_with_its_cause(self, deployment: Deployment, states: list[str]) -> None:
        states.append("registered")
        end(deployment.supernodes[1])
        (deployment.processes.folder / "node-1.log").write_text("starting\nits key is unknown\n", encoding="utf-8")
        with pytest.raises(FlowerRunError, match="node-1 has ended: its key is unknown\n"):
            deployment.ready()

    def test_nobody_waits_outside_the_with_statement(self) -> None:
        with pytest.raises(FlowerRunError, match="the deployment is not running"):
            Deployment([NodeSpec(0)]).ready()
