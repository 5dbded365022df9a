"""A node's own texts are its partition, in the form of the server's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from client_app.app import app
from client_app.own_data import own_splits
from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import flatten, load
from fedcrucible_core.config.sections import TaskSection
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.datasets import load_task
from fedcrucible_core.learning.tasks import TextTask
from fedcrucible_core.records.reader import read
from server_app.plan import Plan
from server_app.run import execute
from tests.support.own_pictures import write_folder
from tests.support.word_model import registered

SAYINGS = {"cat": "a cat purrs and climbs trees", "dog": "a dog barks at the door", "owl": "an owl flies at night"}


@pytest.fixture(autouse=True)
def words() -> Iterator[None]:
    with registered():
        yield


def write(folder: Path, *names: str, count: int = 20) -> Path:
    """A file of texts that tell their class, numbered."""
    folder.mkdir(parents=True)
    lines = [json.dumps({"text": f"{SAYINGS[name]} {i}", "label": name}) for i in range(count) for name in names]
    (folder / "texts.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def task(folder: Path, **more: object) -> TaskSection:
    chosen = {"dataset": "jsonl", "train_samples": 0, "validation_fraction": 0.0, "max_length": 32} | more
    return TaskSection(data_dir=str(folder), **chosen)


@pytest.fixture
def server(tmp_path: Path) -> DataInfo:
    return load_task(task(write(tmp_path / "server", *SAYINGS))).info


def test_classes_go_by_name_and_nothing_is_held_out(tmp_path: Path, server: DataInfo) -> None:
    data = own_splits(task(write(tmp_path / "node", "owl", "dog")), server)
    assert data.info == server
    assert len(data.train) == 40
    for text, label in zip(TextTask(server).decode(data.train.inputs), data.train.labels.tolist(), strict=True):
        assert SAYINGS[server.class_names[label]] in text


def test_texts_of_another_form_are_refused(tmp_path: Path, server: DataInfo) -> None:
    folder = write(tmp_path / "node", "owl", "dog")
    with pytest.raises(ConfigError, match="texts here are of 24 tokens by wordnet, 16 kept free, the server's of 32"):
        own_splits(task(folder, max_length=24), server)
    with pytest.raises(ConfigError, match=r"32 tokens by wordnet, 8 kept free, the server's of 32 .* 16 kept free"):
        own_splits(task(folder, reserved_tokens=8), server)
    pictures = task(write_folder(tmp_path / "pictures", 3), dataset="folder", image_size=8, max_length=0)
    with pytest.raises(ConfigError, match=r"images here are 3x8x8 \(CxHxW\), the server's of 32 tokens"):
        own_splits(pictures, server)


def test_a_run_on_texts_of_two_nodes(tmp_path: Path, runs_folder: Path) -> None:
    server = write(tmp_path / "server", *SAYINGS)
    chosen: dict[str, Scalar] = {
        "strategy": "fedavg", "run.rounds": 4, "run.device": "cpu", "adversary.malicious_fraction": 0.0,
        "attack.name": "none", "task.dataset": "jsonl", "task.data_dir": str(server), "task.train_samples": 0,
        "task.validation_fraction": 0.0, "task.max_length": 32, "model.name": "words", "partition.name": "iid",
        "federation.clients": 2, "federation.wait_for_clients_s": 0.0, "federation.own_data": True,
        "federation.max_examples": 500, "training.batch_size": 8, "training.lr": 2.0, "output.report": False,
    }  # fmt: skip
    folders = [write(tmp_path / "0", "cat", "owl"), write(tmp_path / "1", "dog", "owl", count=30)]
    nodes: dict[int, dict[str, Scalar]] = {
        i: {"data-dir": str(folder), "own-data": True} for i, folder in enumerate(folders)
    }
    plan = Plan.make(load(chosen))
    summary = execute(plan, LocalGrid(app, 2, flatten(plan.config), node_configs=nodes), in_order=False)
    rounds = read(Path(summary.folder)).rounds
    assert rounds[0].notes == ("clients 0, 1 on data of their nodes' own (own-data)",)
    assert summary.dropped == {}
    assert summary.ma_percent is not None
    assert summary.ma_percent > 90
    assert list(rounds[-1].weights.values()) == pytest.approx([0.4, 0.6])
