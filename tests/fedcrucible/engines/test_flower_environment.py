"""The environment of Flower's processes, what ``flwr run`` is told, and how its output is read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedcrucible.engines.flower.environment import (
    KEPT_APPS,
    flower_environment,
    free_ports,
    project_port,
    prune_apps,
    shell_exports,
)
from fedcrucible.engines.flower.output import is_from_app, plain, run_number
from fedcrucible.engines.flower.simulation import federation_config
from fedcrucible_core.config.load import load


def test_nothing_is_reported_checked_or_installed(tmp_path: Path) -> None:
    environment = flower_environment(tmp_path, 12345)
    assert environment["FLWR_TELEMETRY_ENABLED"] == environment["RAY_USAGE_STATS_ENABLED"] == "0"
    assert environment["FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"] == "1"
    assert environment["FLWR_HOME"] == str(tmp_path)
    assert environment["FLWR_LOCAL_SUPERLINK_HTTP_API_PORT"] == "12345"
    first = Path(environment["PATH"].split(os.pathsep)[0])
    assert (first / "flower-superlink").exists()


def test_exports_are_what_a_shell_understands() -> None:
    command = ["env", "-i", "sh", "-c", shell_exports() + "\nenv"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    seen = dict(line.split("=", 1) for line in lines)
    assert seen["FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"] == "1"
    assert seen["PATH"].startswith(str(Path(sys.executable).parent))
    assert seen["FLWR_LOCAL_SUPERLINK_HTTP_API_PORT"] == str(project_port(Path(seen["FLWR_HOME"])))


def test_only_old_unpacked_versions_of_this_app_are_pruned(tmp_path: Path) -> None:
    for age in range(KEPT_APPS + 2):
        folder = tmp_path / "apps" / f"fedcrucible.fedcrucible.0.1.0.{age:08x}"
        folder.mkdir(parents=True)
        os.utime(folder, (1000 - age, 1000 - age))
    (tmp_path / "apps" / "other.app.1.0.0.00000000").mkdir()
    prune_apps(tmp_path)
    kept = sorted(path.name for path in (tmp_path / "apps").iterdir())
    assert kept == [
        *(f"fedcrucible.fedcrucible.0.1.0.{age:08x}" for age in range(KEPT_APPS)),
        "other.app.1.0.0.00000000",
    ]


def test_ports_differ() -> None:
    assert len(set(free_ports(5))) == 5


@pytest.mark.parametrize(
    ("line", "from_app"),
    [
        ("round 1/2  MA 10.00 %  ASR 98.89 %  accepted 4 of 4  38.5 s", True),
        ("fedavg: MA 40.00 %, ASR 12.78 %", True),
        ("error: poison.target_label = 77: has classes 0 to 9", True),
        ("INFO :      Starting Flower Simulation", False),
        ("(ClientAppActor pid=16803) WARNING :   Manually terminating ClientAppActor", False),
        ("Successfully installed fedcrucible to /somewhere", False),
        ("Traceback (most recent call last):", False),
        ('  File "x.py", line 3, in f', False),
        ("fedcrucible_core.config.errors.ConfigError: poison.target_label = 77", False),
        ("", False),
    ],
)
def test_the_app_s_own_lines_are_told_from_the_rest(line: str, from_app: bool) -> None:
    assert is_from_app(line) is from_app


def test_colours_are_removed_and_the_run_is_found() -> None:
    assert plain("\x1b[92mINFO \x1b[0m:      Starting\n") == "INFO :      Starting"
    assert (
        run_number("Successfully started run 8520630737078448055 in federation @none/default") == "8520630737078448055"
    )
    assert run_number("round 1/2") is None


def test_one_supernode_per_client_and_no_more_actors_than_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    config = load({"federation.clients": 1, "run.threads": 1})
    assert federation_config(config) == "num-supernodes=1 client-resources-num-cpus=1 init-args-num-cpus=1"
    assert federation_config(config, 0.25).endswith("client-resources-num-gpus=0.25")
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.5:6379")
    assert federation_config(config) == "num-supernodes=1 client-resources-num-cpus=1", "a running cluster has its own"
