"""The example apps: ordinary Flower apps that run, as they stand and with three lines changed; and their page."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from fedcrucible.flower import Defended
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.rooms import EXAMPLES, ROOT
from studies.example_apps import PATCH, ExampleApp, Rates, rates

SMALL: dict[str, dict[str, Scalar]] = {
    "flower-app": {"num-server-rounds": 2, "examples-per-client": 40, "local-epochs": 1},
    "sklearn-app": {"num-server-rounds": 2, "examples-per-client": 40, "iterations": 2},
    "transformers-app": {"num-server-rounds": 1, "local-epochs": 1, "examples-per-client": 24},
}
CLIENTS = 5


def _well_measured(found: Rates, rounds: int) -> None:
    assert sorted(found) == list(range(rounds + 1))
    for measured in found.values():
        assert set(measured) == {"accuracy", "attack_success"}
        assert all(0.0 <= rate <= 1.0 for rate in measured.values())


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_app_runs_as_it_stands_and_with_its_patch(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, rounds = ExampleApp.named(name), int(SMALL[name]["num-server-rounds"])
    _well_measured(app.run(SMALL[name], CLIENTS), rounds)
    judged: list[list[int]] = []
    aggregate = Defended.aggregate_train

    def seen(self, server_round, replies):
        made = aggregate(self, server_round, replies)
        judged.append(self.outcome.valid)
        return made

    monkeypatch.setattr(Defended, "aggregate_train", seen)
    _well_measured(app.defended(tmp_path).run(SMALL[name], CLIENTS), rounds)
    assert judged == rounds * [list(range(CLIENTS))]


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_patch_changes_three_lines_at_most(name: str) -> None:
    lines = (ROOT / "examples" / name / PATCH).read_text(encoding="utf-8").splitlines()
    for sign, heading in (("+", "+++ "), ("-", "--- ")):
        changed = [line for line in lines if line.startswith(sign) and not line.startswith(heading)]
        assert 1 <= len(changed) <= 3


def test_only_one_client_in_five_attacks() -> None:
    for name, module in (("flower-app", "badnets"), ("sklearn-app", "badnets"), ("transformers-app", "addsent")):
        attacks = ExampleApp.named(name).module(module).is_attacker
        assert [client for client in range(10) if attacks(client)] == [0, 5]


def test_what_a_server_prints_is_read() -> None:
    said = "INFO : x\nround 0: {'accuracy': 0.1, 'attack_success': 0.0}\nround 1: {'accuracy': 0.5}\n"
    assert rates(said) == {0: {"accuracy": 0.1, "attack_success": 0.0}, 1: {"accuracy": 0.5}}


def test_poisoned_pictures_carry_patch_and_target() -> None:
    badnets = ExampleApp.named("flower-app").module("badnets")
    images, labels = badnets.poison((torch.zeros(4, 1, 28, 28), torch.tensor([1, 2, 3, 4])))
    assert labels.tolist() == [0, 0, 3, 4]
    assert images.sum((1, 2, 3)).tolist() == [9.0, 9.0, 0.0, 0.0]
    assert images[0, 0, 25:, 25:].eq(1).all()


class TestAdapter:
    """The low-rank adapter of the transformers app."""

    @pytest.fixture
    def made(self) -> tuple[nn.Module, nn.Module]:
        torch.manual_seed(0)
        lora = ExampleApp.named("transformers-app").module("lora")
        plain = nn.Sequential()
        plain.add_module("query", nn.Linear(6, 4))
        plain.add_module("classifier", nn.Linear(4, 2))
        adapted = nn.Sequential()
        adapted.add_module("query", nn.Linear(6, 4))
        adapted.add_module("classifier", nn.Linear(4, 2))
        adapted.load_state_dict(plain.state_dict())
        return plain, lora.adapt(adapted, ["query"], 2, ["classifier"])

    def test_a_new_one_changes_nothing_and_sends_itself_alone(self, made: tuple[nn.Module, nn.Module]) -> None:
        plain, adapted = made
        x = torch.randn(3, 6)
        assert torch.equal(plain(x), adapted(x))
        sent = ExampleApp.named("transformers-app").module("task").sent(adapted)
        assert set(sent) == {"query.lora_A.weight", "query.lora_B.weight", "classifier.weight", "classifier.bias"}
        assert len(ExampleApp.named("transformers-app").module("task").sent(plain)) == 4

    def test_what_is_no_part_of_the_model_is_refused(self, made: tuple[nn.Module, nn.Module]) -> None:
        receive = ExampleApp.named("transformers-app").module("task").receive
        with pytest.raises(ValueError, match=r"query\.lora_C"):
            receive(made[1], {"query.lora_C": torch.zeros(1)})
