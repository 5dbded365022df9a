"""A node misbehaves only where its own start says so; the server's configuration can't switch it on."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from client_app.app import app
from client_app.node_fault import NODE_FAULTS, planned
from client_app.node_faults.death import end_node
from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import flatten, load
from fedcrucible_core.records.reader import read
from server_app.plan import Plan
from server_app.run import execute
from tests.support.tiny_runs import settings

CHOSEN: dict[str, Any] = {
    "federation__clients": 3,
    "adversary__malicious_fraction": 0.0,
    "run__rounds": 1,
    "model__name": "logistic",
    "task__train_samples": 60,
}


def run(node_configs: dict[int, dict[str, str]], sent: dict[str, str]) -> dict[str, str]:
    """What is dropped in round 1, where the server sends ``sent`` beside the run's settings."""
    plan = Plan.make(load(settings(**CHOSEN)))
    grid = LocalGrid(app, 3, {**flatten(plan.config), **sent}, node_configs=node_configs)
    summary = execute(plan, grid, in_order=True)
    return dict(read(Path(summary.folder)).rounds[1].dropped)


def test_the_node_s_own_configuration_switches_it_on(runs_folder: Path) -> None:
    assert run({1: {"rehearsal": "nan@1"}}, {}) == {"1": "parameters hold 1 values that are not finite"}


def test_a_fault_of_another_round_does_nothing(runs_folder: Path) -> None:
    assert run({1: {"rehearsal": "nan@2,lie@3"}}, {}) == {}


def test_what_the_server_sends_never_does(runs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a key is none of a run's; a client that is sent one refuses the configuration and plays nothing."""
    monkeypatch.setattr("client_app.node_fault.misbehave", None)
    with pytest.raises(ConfigError, match="rehearsal"):
        load({**settings(**CHOSEN), "rehearsal": "nan@1"})
    dropped = run({}, {"rehearsal": "nan@1"})
    assert set(dropped) == {"0", "1", "2"}
    assert all("rehearsal" in cause for cause in dropped.values())


def test_a_plan_that_is_none_is_named(runs_folder: Path) -> None:
    for plan, said in [
        ("nonsense@1", "allowed: inf, kill"),
        ("nan", "fault@round, e.g. nan@4"),
        ("nan@x", "fault@round"),
    ]:
        with pytest.raises(ConfigError, match=said):
            planned(plan)
    assert "nonsense" in run({2: {"rehearsal": "nonsense@1"}}, {})["2"]


def test_no_process_outside_a_rehearsal_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "killpg", lambda *what: killed.append(what))
    monkeypatch.delenv("FEDCRUCIBLE_PROCESSES", raising=False)
    with pytest.raises(RuntimeError, match="only a SuperNode that a rehearsal has started"):
        end_node()
    monkeypatch.setenv("FEDCRUCIBLE_PROCESSES", "mark")
    monkeypatch.setattr(os, "getpgrp", os.getpid)
    with pytest.raises(RuntimeError, match="only a SuperNode"):
        end_node()
    assert killed == []
    monkeypatch.setattr(os, "getpgrp", lambda: 1234)
    end_node()
    assert killed == [(1234, signal.SIGKILL)]


@pytest.mark.parametrize("name", list(NODE_FAULTS))
def test_every_misbehaviour_is_explained(name: str) -> None:
    assert NODE_FAULTS[name].__doc__
