"""The example app by `flwr run`, as it stands and with its patch, in simulation and on SuperNodes: the models of the
in-process engine, and what nodes do wrong on their own account stays theirs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fedcrucible.engines.flower.deployment import Deployment, NodeSpec
from fedcrucible.engines.flower.superlink import LocalSuperLink
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records import files
from fedcrucible_core.records.reader import read_rounds
from studies.example_apps import ExampleApp, Rates, apart

pytestmark = [pytest.mark.slow, pytest.mark.long]
CLIENTS = 5
SETTINGS: dict[str, Scalar] = {"num-server-rounds": 2, "examples-per-client": 40, "fraction-evaluate": 0.0}
DEFENCES = pytest.mark.parametrize(
    ("defence", "far"),
    [
        ("", 2e-5),
        ('"krum"', 0.0),
        ('"flame", noise=0.0', 2e-5),
    ],  # sums are rounded by the order of replies; choices not
    ids=["as it stands", "krum", "flame"],
)


@dataclass(frozen=True)
class WithoutPartition(NodeSpec):
    """A node whose operator has given it another configuration than the app asks for."""

    def config(self, partitions: int) -> str:
        """Nothing that the app knows."""
        return f"ward={partitions}"


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    with Deployment([NodeSpec(partition) for partition in range(CLIENTS)]) as running:
        yield running


def compare(defence: str, far: float, folder: Path, engine: Callable[[ExampleApp, dict[str, Scalar]], Rates]) -> None:
    stands = ExampleApp.named("flower-app")
    app = stands.defended(folder, defence) if defence else stands.copied(folder)
    here, there = folder / "here.pt", folder / "there.pt"
    expected = app.run({**SETTINGS, "save-to": str(here)}, CLIENTS)
    found = engine(app, {**SETTINGS, "save-to": str(there)})
    assert apart(here, there) <= far
    assert set(found) == set(expected)


@DEFENCES
def test_it_ends_in_the_same_model_in_simulation(
    defence: str, far: float, superlink: LocalSuperLink, tmp_path: Path
) -> None:
    compare(defence, far, tmp_path, lambda app, settings: app.simulate(settings, superlink, CLIENTS))


@DEFENCES
def test_it_ends_in_the_same_model_on_supernodes(
    defence: str, far: float, deployment: Deployment, tmp_path: Path
) -> None:
    compare(defence, far, tmp_path, lambda app, settings: app.deploy(settings, deployment))


def test_a_raising_client_and_a_killed_supernode_are_dropped_with_their_causes(tmp_path: Path) -> None:
    record = tmp_path / "record"
    app = ExampleApp.named("flower-app").defended(tmp_path, f'"median", record={str(record)!r}')
    with Deployment([NodeSpec(0), NodeSpec(1), NodeSpec(2), WithoutPartition(3)]) as deployment:

        def kill_one_after_a_round() -> None:
            metrics, deadline = record / files.METRICS, time.monotonic() + 300.0
            while time.monotonic() < deadline:
                if metrics.is_file() and any(row.round == 1 for row in read_rounds(metrics)):
                    deployment.supernodes[1].kill()
                    return
                time.sleep(0.1)

        killer = threading.Thread(target=kill_one_after_a_round)
        deployment.ready()
        killer.start()
        found = app.deploy(SETTINGS, deployment)
        killer.join()
    assert sorted(found) == [0, 1, 2]
    first, last = (row for row in read_rounds(record / files.METRICS) if row.round)
    (raised,) = first.dropped
    assert "KeyError" in first.dropped[raised]
    assert "partition-id" in first.dropped[raised]
    assert last.dropped[raised] == first.dropped[raised]
    (killed,) = set(last.dropped) - {raised}
    assert "error 5" in last.dropped[killed]
    assert (len(first.accepted), len(last.accepted)) == (3, 2)
