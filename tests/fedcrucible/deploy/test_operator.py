"""Processes of a description: started once, ended all, by another command than the one that started them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from fedcrucible.deploy import operator as module
from fedcrucible.deploy.ledger import LEDGER, read_ledger
from fedcrucible.deploy.operator import Operator
from fedcrucible.deploy.topology import Site, Topology
from fedcrucible.engines.flower import guard
from fedcrucible.engines.flower.command import FlowerRunError
from fedcrucible.engines.flower.superlink_access import KnownNode, Registration, SuperLinkAccess
from fedcrucible_core.config.errors import ConfigError
from fedcrucible_core.records.lock import only_writer

CHILD = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).wait()"
"""A process with a descendant, as Flower's have them."""


def fake_superlink(*of_it: object) -> list[str]:
    return [sys.executable, "-c", CHILD, "superlink", *map(str, of_it)]


def fake_node(*of_it: object, warm: bool) -> list[str]:
    return [sys.executable, "-c", CHILD, *map(str, of_it), *(["warm"] if warm else [])]


def nothing(*of_it: object, **more: object) -> None:
    """Neither a SuperLink to wait for nor one to register at."""


def as_new(access: SuperLinkAccess, keys: Mapping[str, str]) -> dict[str, Registration]:
    return {name: Registration(KnownNode("1", name, "registered"), new=True) for name in keys}


@pytest.fixture
def topology(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Topology]:
    monkeypatch.setattr(module, "superlink_command", fake_superlink)
    monkeypatch.setattr(module, "supernode_command", fake_node)
    monkeypatch.setattr(module, "wait_until_healthy", nothing)
    monkeypatch.setattr(SuperLinkAccess, "register", as_new)
    sites = (Site(name="a", partition=0), Site(name="b", partition=1))
    described = Topology(sites=sites, folder=tmp_path)
    yield described
    Operator(described).down()


def pids(operator: Operator) -> dict[str, int | None]:
    return {process.name: process.pid for process in operator.status()}


def test_what_runs_stays_what_ended_is_started_again_and_down_ends_all(topology: Topology) -> None:
    said: list[str] = []
    assert Operator(topology).up(said.append) == ["superlink", "a", "b"]
    assert "registered a, b" in said
    first = pids(Operator(topology))
    assert Operator(topology).up(said.append) == []
    assert pids(Operator(topology)) == first
    os.kill(first["a"], signal.SIGKILL)
    os.waitpid(first["a"], 0)
    (ended,) = [process.name for process in Operator(topology).status() if process.ended]
    assert ended == "a"
    assert Operator(topology).up(said.append) == ["a"]
    second = pids(Operator(topology))
    assert {name for name in first if first[name] != second[name]} == {"a"}
    ledger = read_ledger(topology.state_folder)
    assert sorted(Operator(topology).down()) == ["a", "b", "superlink"]
    assert guard.marked(ledger.mark) == []
    assert Operator(topology).down() == []
    assert set(pids(Operator(topology)).values()) == {None}


def test_a_changed_description_restarts_nothing(topology: Topology) -> None:
    Operator(topology).up(nothing)
    before = pids(Operator(topology))
    a, b = topology.sites
    changed = topology.model_copy(update={"sites": (a, b.model_copy(update={"role": "malicious"}))})
    with pytest.raises(ConfigError, match="topology = 'b': runs with what the description said before"):
        Operator(changed).up(nothing)
    fewer = topology.model_copy(update={"sites": (a,)})
    with pytest.raises(ConfigError, match="topology = "):
        Operator(fewer).up(nothing)
    assert pids(Operator(topology)) == before
    assert ("b", "not in the description") in [(process.name, process.role) for process in Operator(fewer).status()]


def test_a_start_that_fails_leaves_nothing_running(topology: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
    marks: list[str] = []

    def refuse(access: SuperLinkAccess, keys: Mapping[str, str]) -> None:
        marks.append(read_ledger(topology.state_folder).mark)
        assert guard.marked(marks[-1])
        raise FlowerRunError("no")

    monkeypatch.setattr(SuperLinkAccess, "register", refuse)
    with pytest.raises(FlowerRunError, match="no"):
        Operator(topology).up(nothing)
    assert guard.marked(*marks) == []
    assert not (topology.state_folder / LEDGER).exists()


def test_a_revoked_site_stays_out_and_the_others_start(topology: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def one_refused(access: SuperLinkAccess, keys: Mapping[str, str]) -> dict[str, Registration]:
        asked.append(list(keys))
        states = {name: "unregistered" if name == "a" else "offline" for name in keys}
        return {name: Registration(KnownNode("1", name, state), new=False) for name, state in states.items()}

    monkeypatch.setattr(SuperLinkAccess, "register", one_refused)
    said: list[str] = []
    assert Operator(topology).up(said.append) == ["superlink", "b"]
    assert [line for line in said if line.startswith("SuperNode a is not started: ")]
    os.kill(pids(Operator(topology))["superlink"], signal.SIGKILL)
    os.waitpid(read_ledger(topology.state_folder).processes["superlink"].pid, 0)
    assert Operator(topology).up(said.append) == ["superlink"]
    assert asked[-1] == ["a", "b"], "a SuperLink that starts may have lost its database"


def test_what_a_crashed_command_started_is_ended_though_it_was_never_listed(topology: Topology) -> None:
    Operator(topology).up(nothing)
    ledger = read_ledger(topology.state_folder)
    ledger.model_copy(update={"processes": {}}).write(topology.state_folder)
    assert Operator(topology).down() == []
    assert guard.marked(ledger.mark) == []


def test_one_command_at_a_time(topology: Topology) -> None:
    with only_writer(topology.state_folder), pytest.raises(ConfigError, match="another `deploy` command is at work"):
        Operator(topology).down()
