"""SuperLink and SuperNodes over TLS on this machine: the in-process engine's result, through failures too."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from client_app.app import app
from fedcrucible.engines.flower import guard
from fedcrucible.engines.flower.command import FlowerRunError
from fedcrucible.engines.flower.deployment import Deployment, NodeSpec
from fedcrucible.engines.hidden_settings import write_hidden
from fedcrucible.engines.in_process import run_in_process
from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible_core.config.load import flatten, load
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records import files
from fedcrucible_core.records.reader import parsed, read_rounds
from fedcrucible_core.records.site_matrix import SiteMatrix
from server_app.plan import Plan
from server_app.run import execute

pytestmark = pytest.mark.slow
Settings = dict[str, Scalar]
OWNER, BROKEN = 2, 3
"""Partitions of a node with images of its own, and of one whose role is none."""


def write_mnist(root: Path, train: int, seed: int) -> Path:
    """An invented MNIST: ``train`` training images and 60 test images, in the published format."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for stem, count in (("train", train), ("t10k", 60)):
        images, labels = rng.integers(0, 256, size=(count, 28, 28)), np.arange(count) % 10
        for name, array in ((f"{stem}-images-idx3-ubyte", images), (f"{stem}-labels-idx1-ubyte", labels)):
            header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            (folder / name).write_bytes(header + array.astype(np.uint8).tobytes())
    return root


@pytest.fixture(scope="module")
def own_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mnist(tmp_path_factory.mktemp("owner"), 70, seed=2)


@pytest.fixture(scope="module")
def on_mnist(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """One round of three clients on the server's invented MNIST."""
    changes: Settings = {
        "run.rounds": 1,
        "task.dataset": "mnist",
        "task.data_dir": str(write_mnist(tmp_path_factory.mktemp("server"), 200, seed=1)),
        "task.train_samples": 0,
        "task.test_samples": 0,
        "partition.name": "iid",
        "federation.clients": 3,
    }
    return {**settings, **changes}


@pytest.fixture(scope="module")
def hidden(settings: Settings) -> Settings:
    """One round of two clients, of whom one attacks, and which nobody else is to know of."""
    return {
        **settings,
        "run.seed": 1,  # the attacker is told it too: its numbers are to be those of the open run
        "run.rounds": 1,
        "federation.clients": 2,
        "federation.fraction_evaluate": 1.0,
        "partition.test_fraction": 0.2,
        "adversary.malicious_ids": "1",
    }


@pytest.fixture(scope="module")
def deployment(own_folder: Path, hidden: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    of_the_attacker = write_hidden(tmp_path_factory.mktemp("attacker"), hidden)
    nodes = [
        NodeSpec(0, "benign", measure_asr=False),
        NodeSpec(1, "malicious", hidden_file=str(of_the_attacker)),
        NodeSpec(OWNER, "benign", data_dir=str(own_folder), own_data=True),
        NodeSpec(BROKEN, "neither"),
    ]
    with Deployment(nodes) as running:
        yield running


def test_deployment_and_in_process_end_in_the_same_model(settings: Settings, deployment: Deployment) -> None:
    """A mean, and a repair that asks the clients (`deploy up` and the golden runs have other systems); float16."""
    chosen = {**settings, "strategy": "pruning", "federation.clients": 2}  # other nodes hold no partition of this run
    chosen["federation.payload"] = "float16"
    expected = run_in_process(Plan.make(load(chosen)))
    summary = deployment.run(chosen, lambda line: None)
    assert summary.parameters_sha256 == expected.parameters_sha256
    assert summary.dropped == {}
    rounds = read_rounds(Path(summary.folder) / files.METRICS)
    assert [row.malicious for row in rounds] == [(), (1,), (1,), (1,)]


def test_a_blind_run_ends_in_the_model_of_the_open_one(hidden: Settings, deployment: Deployment) -> None:
    expected = run_in_process(Plan.make(load(hidden)))
    said: list[str] = []
    summary = deployment.run({**hidden, "federation.blind": True}, said.append)
    assert summary.parameters_sha256 == expected.parameters_sha256
    assert [line for line in said if "MA" in line or str(hidden["attack.name"]) in line] == []
    rounds = read_rounds(Path(summary.folder) / files.METRICS)
    assert rounds[1].malicious == (1,)
    matrix = parsed(Path(summary.folder) / files.SITES, SiteMatrix)
    assert [row.asr_allowed for row in matrix.sites] == [False, True]
    assert summary.clients is not None
    assert expected.clients is not None
    assert summary.clients.ma_by_client_percent == expected.clients.ma_by_client_percent


def test_a_nodes_own_images_are_its_partition(on_mnist: Settings, deployment: Deployment, own_folder: Path) -> None:
    summary = deployment.run(on_mnist, lambda line: None)
    rounds = read_rounds(Path(summary.folder) / files.METRICS)
    assert f"client {OWNER} on data of their nodes' own (own-data)" in rounds[0].notes
    assert list(rounds[1].weights.values()) == pytest.approx([60 / 190, 60 / 190, 70 / 190])
    nodes = {1: {"role": "malicious"}, OWNER: {"data-dir": str(own_folder), "own-data": True}}
    plan = Plan.make(load(on_mnist))
    here = execute(plan, LocalGrid(app, 3, flatten(plan.config), node_configs=nodes), in_order=False)
    assert summary.parameters_sha256 == here.parameters_sha256


def test_too_few_usable_nodes_fail_with_each_nodes_cause(on_mnist: Settings, deployment: Deployment) -> None:
    wanted = {"federation.clients": 5, "federation.min_replies": 5, "federation.wait_for_clients_s": 60.0}
    lines: list[str] = []
    with pytest.raises(FlowerRunError, match=r"of 5 clients can be used, 5 needed"):
        deployment.run({**on_mnist, **wanted, "output.name": "too-few"}, lines.append)
    (error,) = [line for line in lines if line.startswith("error: ")]
    assert "3 of 5 clients can be used" in error
    assert "(node-3): error 2: " in error
    assert "role = 'neither'" in error
    assert error.endswith("no usable node is online for partitions 3, 4")
    assert not (Path(str(on_mnist["output.dir"])) / "too-few").exists()


def test_a_raising_client_and_a_killed_supernode_do_not_stop_a_run(
    on_mnist: Settings, deployment: Deployment, own_folder: Path
) -> None:
    chosen = {**on_mnist, "federation.min_replies": 1, "federation.timeout_s": 300.0}

    def break_two(line: str) -> None:
        if line.startswith("round 0/"):  # round 1's messages go out now
            deployment.supernodes[1].kill()
            shutil.rmtree(own_folder)

    summary = deployment.run(chosen, break_two)
    last = read_rounds(Path(summary.folder) / files.METRICS)[-1]
    assert sorted(last.dropped) == ["1", str(OWNER)], last.dropped
    assert last.accepted == (0,)
    assert "ConfigError (task.dataset)" in last.dropped[str(OWNER)]
    for path in Path(summary.folder).rglob("*"):
        assert not path.is_file() or str(own_folder).encode() not in path.read_bytes(), path
    logs = deployment.processes.folder
    assert "absent or damaged" in (logs / f"node-{OWNER}.log").read_text()
    assert str(own_folder) not in (logs / "superlink.log").read_text()


def test_no_process_is_left_behind(deployment: Deployment) -> None:
    assert deployment.processes.alive()
    folder = deployment.processes.folder
    deployment.processes.stop()
    assert guard.marked(deployment.processes.mark) == []
    assert not folder.exists()
