"""FLTrust in the loop: where its root set comes from, what the record says, and what the server's training leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from attacks.poisoners.badnets import BadNets
from fedcrucible.engines.in_process import run_in_process
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import load
from fedcrucible_core.learning.rng import torch_generator
from fedcrucible_core.learning.vector import flatten_buffers, flatten_parameters
from fedcrucible_core.learning.weights import Weights
from fedcrucible_core.records.reader import RecordedRun, read
from server_app.plan import Plan
from strategies.root_training import root_update

TINY: dict[str, str | int | float | bool] = {
    "strategy": "fltrust",
    "run.rounds": 2,
    "federation.clients": 5,
    "task.train_samples": 300,
    "task.test_samples": 60,
    "partition.name": "iid",
    "model.resnet8.width": 4,
    "adversary.malicious_fraction": 0.4,
    "synthetic.source": "mixed",
    "synthetic.per_class": 3,
    "defense.fltrust.root_samples": 20,
    "output.report": False,
}


def plan(**settings: str | int | float | bool) -> Plan:
    return Plan.make(load({**TINY, **{key.replace("__", "."): value for key, value in settings.items()}}))


def run(**settings: str | int | float | bool) -> RecordedRun:
    return read(Path(run_in_process(plan(**settings)).folder))


@pytest.mark.parametrize(("root", "words"), [("synthetic", "synthetic server images (mixed)"), ("clean", "clean real")])
def test_the_record_names_the_root_set(root: str, words: str, runs_folder: Path) -> None:
    record = run(defense__fltrust__root=root)
    (knowledge,) = record.run.knowledge["fltrust"]
    assert knowledge.startswith(f"root set: 20 {words}")
    assert any(knowledge in note for note in record.run.notes)
    assert record.rounds[0].facts["root.images"] == 20.0
    assert all(r.facts["rule.root_norm"] > 0 for r in record.rounds[1:])
    assert all(len(r.per_client["trust"]) == 5 for r in record.rounds[1:])


def test_it_is_not_fedavg_and_the_root_set_matters(runs_folder: Path) -> None:
    hashes = [
        run_in_process(plan(**settings)).parameters_sha256
        for settings in ({}, {}, {"defense__fltrust__root": "clean"}, {"strategy": "fedavg"})
    ]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


def test_resume_equals_an_uninterrupted_run(runs_folder: Path) -> None:
    whole = run_in_process(plan(run__rounds=3))
    run(output__name="cut", run__rounds=1, run__checkpoint_every=1)
    resumed = run_in_process(plan(output__name="cut", run__rounds=3, run__resume=True, run__checkpoint_every=1))
    assert resumed.parameters_sha256 == whole.parameters_sha256


def pixels(images: torch.Tensor) -> set[bytes]:
    return {bytes(image) for image in images.mul(255).round().to(torch.uint8).flatten(1).numpy()}


def test_a_clean_root_is_no_test_image_and_no_clients() -> None:
    chosen = plan(defense__fltrust__root="clean", task__test_samples=0, defense__fltrust__root_samples=100)
    root = chosen.root_set()
    assert root is not None
    assert torch.bincount(root.labels).tolist() == [10] * 10
    mine = pixels(root.inputs)
    assert len(mine) == 100
    assert mine <= pixels(chosen.data.validation.for_model())
    assert not mine & pixels(chosen.data.test.for_model())
    assert not mine & pixels(chosen.data.train.for_model())


def test_a_synthetic_root_is_made_of_the_servers_plain_images() -> None:
    chosen = plan()
    root = chosen.root_set()
    assert root is not None
    assert torch.bincount(root.labels).tolist() == [2] * 10
    assert pixels(root.inputs) <= pixels(chosen.foundation.server_data().originals.inputs)
    other = plan(run__seed=2).root_set()
    assert other is not None
    assert pixels(other.inputs) != pixels(root.inputs)


def test_rules_without_a_root_set_get_none() -> None:
    assert plan(strategy="fedavg").root_set() is None
    assert plan(strategy="fedavg").root_description == ""
    assert plan(strategy="server-data-only", defense__name="fltrust").root_set() is None


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"defense__fltrust__root_samples": 31}, "defense.fltrust.root_samples"),
        (
            {"defense__fltrust__root": "clean", "defense__fltrust__root_samples": 10**6},
            "defense.fltrust.root_samples",
        ),
        ({"defense__fltrust__root": "clean", "task__eval_split": "validation"}, "defense.fltrust.root"),
        ({"synthetic__source": "nowhere"}, "synthetic"),
    ],
)
def test_a_root_set_that_cannot_be_had_is_refused_at_once(settings: dict[str, str | int], key: str) -> None:
    with pytest.raises(ConfigError) as error:
        plan(**settings)
    assert error.value.key.startswith(key)


def test_the_root_update_is_a_clients_training_and_leaves_the_model_alone() -> None:
    chosen = plan(training__local_epochs=2)
    root, model = chosen.root_set(), chosen.model()
    assert root is not None
    sent = Weights(flatten_parameters(model) * 1.01, flatten_buffers(model))
    settings = chosen.config.training

    def train(seed: int) -> torch.Tensor:
        return root_update(model, sent, root, settings, torch_generator(seed, "root", 1), "fp32")

    first, again, other = train(1), train(1), train(2)
    assert torch.equal(flatten_parameters(model), sent.parameters)
    assert torch.equal(flatten_buffers(model), sent.buffers)
    assert not model.training
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert float(first.norm()) > 0.01
    longer = settings.model_copy(update={"local_epochs": 5})
    assert not torch.equal(root_update(model, sent, root, longer, torch_generator(1, "root", 1), "fp32"), first)


def test_it_can_stand_before_a_purifier(runs_folder: Path) -> None:
    record = run(strategy="fine-tune", defense__name="fltrust", run__rounds=1)
    assert record.run.rule == "fltrust"
    assert "trust" in record.rounds[1].per_client


@pytest.mark.parametrize(
    ("client_images", "epochs"),
    [
        (0, 2),  # the clients' epochs
        (20, 2),  # a client as small as the root set
        (1000, 32),  # 2 epochs of 16 batches, one batch of 20 root images each
        (1, 2),
    ],
)
def test_the_root_update_takes_a_clients_steps(client_images: int, epochs: int) -> None:
    chosen = plan(training__local_epochs=2)
    root, model = chosen.root_set(), chosen.model()
    assert root is not None
    sent, settings = Weights.of(model), chosen.config.training

    def train(client_images: int, epochs: int) -> torch.Tensor:
        training = settings.model_copy(update={"local_epochs": epochs})
        return root_update(model, sent, root, training, torch_generator(1, "root", 1), "fp32", client_images)

    assert torch.equal(train(client_images, 2), train(0, epochs))


def test_a_root_set_larger_than_a_clients_data_is_seen_once_at_least() -> None:
    chosen = plan(training__batch_size=4)
    root, model = chosen.root_set(), chosen.model()
    assert root is not None
    sent, settings = Weights.of(model), chosen.config.training

    def train(client_images: int) -> torch.Tensor:
        return root_update(model, sent, root, settings, torch_generator(1, "root", 1), "fp32", client_images)

    assert torch.equal(train(4), train(0))


def test_a_clean_root_holds_no_image_that_attack_success_is_measured_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A semantic attack may measure on listed training images, from which the validation split may be cut."""
    validation = plan(defense__fltrust__root="clean", task__test_samples=0).data.validation
    measured, held_out = validation.subset(torch.arange(30)), len(validation) - 30
    monkeypatch.setattr(BadNets, "held_out", lambda self, task: measured)

    def chosen(samples: int) -> Plan:
        return plan(defense__fltrust__root="clean", task__test_samples=0, defense__fltrust__root_samples=samples)

    root = chosen(held_out).root_set()
    assert root is not None
    assert len(root.labels) == held_out
    assert not pixels(root.inputs) & pixels(measured.for_model())
    with pytest.raises(ConfigError, match=f"at most the {held_out} images"):
        chosen(held_out + 1)
