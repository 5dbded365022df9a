"""Central training: the same data without a federation, an epoch a round, with all that a run offers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from attacks.poisoners.badnets import BadNets
from attacks.task import AttackTask
from fedcrucible_core.config.load import load
from fedcrucible_core.learning.models.base import MODELS
from fedcrucible_core.learning.rng import torch_generator
from fedcrucible_core.learning.training import train
from fedcrucible_core.learning.weights import Weights
from fedcrucible_core.records.model_digest import model_sha256
from fedcrucible_core.records.reader import read
from server_app.plan import Plan
from tests.support.tiny_runs import play, settings


def test_it_is_plain_training_on_the_whole_set(runs_folder: Path) -> None:
    summary, rounds = play(strategy="central", training__local_epochs=3)
    plan = Plan.make(load(settings(strategy="central")))
    config = plan.config
    model = MODELS.of(config).build(plan.data.info, 1, channels_last=config.run.channels_last)
    data, epoch = plan.data.train, config.training.model_copy(update={"local_epochs": 1})
    losses = []
    for number in (1, 2):
        rng = torch_generator(1, "central", number)
        losses.append(train(model, data.for_model(), data.labels, epoch, rng))
    expected = Weights.of(model)
    assert summary.parameters_sha256 == model_sha256(expected)
    assert [r.facts["central.loss"] for r in rounds[1:]] == losses
    assert rounds[0].facts["central.images"] == 200


def test_nobody_takes_part_and_nobody_attacks(runs_folder: Path) -> None:
    attacked, rounds = play(strategy="central", attack__malicious_fraction=0.4)
    clean, _ = play(strategy="central", attack__malicious_fraction=0.0)
    assert attacked.parameters_sha256 == clean.parameters_sha256
    assert all((r.participants, r.malicious, r.weights, r.bytes_up, r.bytes_down) == ((), (), {}, 0, 0) for r in rounds)
    assert [r.model for r in rounds] == ["initial", "changed", "changed"]
    run = read(Path(clean.folder)).run
    assert run is not None
    assert run.rule == ""
    assert run.knowledge["central"] == ("all training data in one place",)
    assert clean.state == "ok"


def test_it_learns(runs_folder: Path) -> None:
    _, rounds = play(strategy="central", run__rounds=6, training__batch_size=16)
    rates = [r.ma_percent for r in rounds]
    assert rates[0] is not None
    assert rates[-1] is not None
    assert rates[-1] > rates[0] + 20


def test_it_resumes(runs_folder: Path) -> None:
    whole, rounds = play(strategy="central", run__rounds=3)
    play(strategy="central", run__rounds=2, run__checkpoint_every=1, output__name="cut")
    resumed, again = play(
        strategy="central", run__rounds=3, run__checkpoint_every=1, output__name="cut", run__resume=True
    )
    assert resumed.parameters_sha256 == whole.parameters_sha256
    assert [r.ma_percent for r in again] == [r.ma_percent for r in rounds]


def test_images_that_attack_success_is_measured_on_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def first_seven(self: BadNets, task: AttackTask) -> torch.Tensor:
        return torch.arange(len(task.train)) < 7

    monkeypatch.setattr(BadNets, "withheld", first_seven)
    plan = Plan.make(load(settings(strategy="central")))
    assert torch.equal(plan.central_set().labels, plan.data.train.labels[7:])


def test_a_purifier_and_a_repair_may_follow(runs_folder: Path) -> None:
    plain, _ = play(strategy="central", run__rounds=1)
    tuned, rounds = play(strategy="central", run__rounds=1, purifier__name="fine-tune")
    assert tuned.parameters_sha256 != plain.parameters_sha256
    assert any(name.startswith("purifier.") for name in rounds[1].facts)


def test_a_model_that_diverges_is_kept_and_said(runs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from strategies import central

    def diverges(model: torch.nn.Module, *rest: object, **more: object) -> float:
        with torch.no_grad():
            next(model.parameters()).fill_(float("nan"))
        return 1.0

    monkeypatch.setattr(central, "train", diverges)
    _, rounds = play(strategy="central", run__rounds=1)
    assert rounds[1].model == "initial"
    assert "not finite" in rounds[1].notes[0]
