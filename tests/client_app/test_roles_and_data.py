"""Who is malicious, what a client trains on, and the format of its answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from flwr.app import Context, RecordDict

from attacks.own_rows import own_rows
from attacks.poisoner import Poisoner
from attacks.poisoners.dba import Dba
from attacks.schedule import malicious_partitions
from client_app.local_data import clean_data, poisoned_data
from client_app.roles import attacker_number, is_malicious
from client_app.session import run_config
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.load import flatten, load
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.learning.datasets import load_task

SETTINGS: dict[str, Scalar] = {
    "federation.clients": 6,
    "task.train_samples": 240,
    "partition.name": "iid",
    "adversary.malicious_ids": "1,4",
}
CPU = torch.device("cpu")


def config(**more: Scalar) -> RunConfigBase:
    return load({**SETTINGS, **{key.replace("__", "."): value for key, value in more.items()}})


def context(partition: int, **node: Scalar) -> Context:
    node_config = {"partition-id": partition, "num-partitions": 6, **node}
    return Context(run_id=1, node_id=2, node_config=node_config, state=RecordDict(), run_config=dict(flatten(config())))


def test_the_seed_decides_in_simulation() -> None:
    assert [p for p in range(6) if is_malicious(context(p))] == [1, 4]
    assert is_malicious(context(1, role="by-seed"))


def test_a_nodes_own_role_wins() -> None:
    assert not is_malicious(context(1, role="benign"))
    assert is_malicious(context(0, role="malicious"))


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"node-config role = 'evil'.*benign, malicious, by-seed"):
        is_malicious(context(0, role="evil"))


def test_a_node_needs_no_file_of_class_names() -> None:
    run = dict(flatten(config(task__class_names="on-the-server.json")))
    node = Context(run_id=1, node_id=2, node_config={"partition-id": 0}, state=RecordDict(), run_config=run)
    assert len(clean_data(run_config(node), 0, CPU)) == 40


def test_a_nodes_data_folder_goes_before_the_runs() -> None:
    assert run_config(context(0)).task.data_dir == ""
    assert run_config(context(0, **{"data-dir": "/elsewhere"})).task.data_dir == "/elsewhere"


def test_attackers_are_numbered_among_themselves() -> None:
    assert [attacker_number(config(), p) for p in (1, 4)] == [0, 1]
    drawn = config(adversary__malicious_ids="", adversary__malicious_fraction=0.5)
    ids = malicious_partitions(drawn)
    assert [attacker_number(drawn, p) for p in ids] == [0, 1, 2]


def test_clients_share_all_images_and_no_image_twice() -> None:
    parts = [clean_data(config(), p, CPU) for p in range(6)]
    assert sum(len(part.labels) for part in parts) == 240
    images = torch.cat([part.inputs for part in parts]).flatten(1)
    assert len(torch.unique(images, dim=0)) == 240
    assert clean_data(config(), 0, CPU) is clean_data(config(), 0, CPU), "tensors are made once per process"


def test_poisoned_data_leaves_the_clean_data_alone() -> None:
    chosen = config(poison__ratio=1.0)
    attack = chosen.component("attack", "badnets")
    assert isinstance(attack, Poisoner)
    before = clean_data(chosen, 1, CPU).inputs.clone()
    poisoned = poisoned_data(chosen, attack, 1, 0, CPU)
    assert torch.equal(clean_data(chosen, 1, CPU).inputs, before)
    assert bool((poisoned.labels == chosen.poison.target_label).all())
    assert bool((poisoned.inputs[:, :, -1, -1] == 1).sum() >= (clean_data(chosen, 1, CPU).labels != 0).sum())
    again = poisoned_data(chosen, attack, 1, 0, CPU)
    assert torch.equal(again.inputs, poisoned.inputs)


def test_part_triggers_differ_between_attackers() -> None:
    chosen = config(attack__name="dba", poison__ratio=1.0)
    attack = chosen.component("attack", "dba")
    assert isinstance(attack, Dba)
    for part, partition in enumerate((1, 4)):
        clean = clean_data(chosen, partition, CPU)
        poisoned = poisoned_data(chosen, attack, partition, part, CPU)
        rows = clean.labels != 0
        assert bool((poisoned.inputs[rows][:, attack.part_mask((1, 28, 28), part)] == 1).all())
        outside = ~attack.part_mask((1, 28, 28), part)
        assert torch.equal(poisoned.inputs[:, outside], clean.inputs[:, outside])


def test_images_that_success_is_measured_on_are_given_to_no_client(tmp_path: Path) -> None:
    train = load_task(config().task).train
    bags = (train.labels == 8).nonzero().flatten().tolist()  # the slice's subsets are prefixes: numbers as published
    path = tmp_path / "bags.json"
    path.write_text(json.dumps({"train": bags[:4], "test": bags[4:10], "test_split": "train"}), encoding="utf-8")
    chosen = config(attack__name="semantic", **{"attack__semantic__attribute_file": str(path)})
    attack = chosen.component("attack", "semantic")
    assert isinstance(attack, Poisoner)
    rows = [own_rows(chosen, p) for p in range(6)]
    assert sorted(torch.cat(rows).tolist()) == [i for i in range(240) if i not in bags[4:10]]
    measured = {image.numpy().tobytes() for image in train.for_model()[bags[4:10]]}
    for partition in range(6):
        images = [*clean_data(chosen, partition, CPU).inputs, *poisoned_data(chosen, attack, partition, 0, CPU).inputs]
        assert not measured & {image.numpy().tobytes() for image in images}
    assert sum(len(own_rows(config(), p)) for p in range(6)) == 240
