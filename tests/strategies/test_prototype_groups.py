"""A federation over two architectures: each client trains its own, each group has its own rule, all of it resumes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Literal

import pytest
import torch

from client_app.app import app as client_app
from client_app.session import client_model
from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.load import flatten, load
from fedcrucible_core.learning.channels import last_convolution, mean_activations
from fedcrucible_core.learning.weights import Population, Weights
from fedcrucible_core.records.checkpoint import latest_checkpoint
from server_app.plan import Plan
from server_app.strategy_of import strategy_of
from strategies.loop import Loop
from strategies.outcome import RoundOutcome
from strategies.population import equal, population_arrays, population_in
from strategies.rule_alone import RuleAloneStrategy
from strategies.systems import SYSTEMS, System, prototype_of
from tests.support.tiny_runs import Scalar, play, settings


class TwoModels(System):
    """Invented: partitions 0, 2, 4 train a ResNet-8, partitions 1 and 3 a CNN."""

    rule = "fedavg"
    strategy = RuleAloneStrategy

    @classmethod
    def prototypes(cls, config: RunConfigBase) -> Mapping[str, RunConfigBase]:
        """Two sections ``model``."""
        changes = {"small": "resnet8", "large": "cnn"}
        return {p: config.model_copy(update={"model": config.model.model_copy(update={"name": name})})
                for p, name in changes.items()}  # fmt: skip


class TwoFiltered(TwoModels):
    """Invented: the same under Krum, which two clients are too few for."""

    rule = "krum"
    small_groups: ClassVar[Literal["keep", "mean"]] = "mean"


class TwoKept(TwoFiltered):
    """Invented: the same, where a group that is too small keeps its model."""

    small_groups: ClassVar[Literal["keep", "mean"]] = "keep"


@pytest.fixture(autouse=True)
def invented() -> Iterator[None]:
    list(SYSTEMS)  # what is built in comes first
    names = {"two-models": TwoModels, "two-filtered": TwoFiltered, "two-kept": TwoKept}
    for name, cls in names.items():
        SYSTEMS.register(name)(cls)
    yield
    for name in names:
        del SYSTEMS._classes[name]


CNN: dict[str, Scalar] = {"model__cnn__width": 4, "model__cnn__hidden": 16}


class Rounds:
    """Keeps every round."""

    def __init__(self) -> None:
        self.seen: list[RoundOutcome] = []

    def on_round(self, outcome: RoundOutcome) -> None:
        self.seen.append(outcome)

    def on_checkpoint(self, checkpoint: object) -> None:
        """Nothing."""

    def on_note(self, text: str) -> None:
        """Nothing."""


def run(strategy: str = "two-models", **changes: Scalar) -> tuple[Population, Population, list[RoundOutcome], Loop]:
    """Initial and final population, the rounds, the strategy."""
    plan = Plan.make(load(settings(strategy=strategy, **CNN, **changes)))
    rounds = Rounds()
    loop = strategy_of(plan, in_order=True, observers=[rounds])
    grid = LocalGrid(client_app, plan.config.federation.clients, flatten(plan.config))
    loop.start(grid, loop.initial_arrays, plan.config.run.rounds)
    return loop.standing.initial, loop.standing.population, rounds.seen, loop


def test_each_client_trains_its_own_architecture(runs_folder: Path) -> None:
    config = load(settings(strategy="two-models", **CNN))
    assert [prototype_of(config, p) for p in range(5)] == ["small", "large", "small", "large", "small"]
    sizes = {Weights.of(client_model(config, p, torch.device("cpu"))).nbytes for p in (0, 1)}
    assert len(sizes) == 2
    initial, final, rounds, _ = run()
    assert list(final) == ["small", "large"]
    assert final["small"].nbytes != final["large"].nbytes
    assert not any(final[p].equals(initial[p]) for p in final)
    assert [r.model for r in rounds] == ["initial", "changed", "changed"]
    assert rounds[2].weights == pytest.approx({0: 1 / 3, 1: 1 / 2, 2: 1 / 3, 3: 1 / 2, 4: 1 / 3})
    assert rounds[2].bytes_down == 3 * final["small"].nbytes + 2 * final["large"].nbytes == rounds[2].bytes_up


def test_the_other_groups_clients_touch_no_model(runs_folder: Path) -> None:
    _, final, _, _ = run(attack__name="gaussian", attack__malicious_ids="1", attack__gaussian__sigma=5.0)
    _, honest, _, _ = run(attack__malicious_fraction=0.0)
    assert final["small"].equals(honest["small"])
    assert not final["large"].equals(honest["large"])


def test_rates_are_of_the_first_and_facts_of_the_others(runs_folder: Path) -> None:
    _, rounds = play(strategy="two-models", **CNN)
    assert rounds[2].ma_percent is not None
    assert 0.0 <= rounds[2].facts["prototype.large.ma_percent"] <= 100.0
    assert "prototype.small.ma_percent" not in rounds[2].facts


def test_a_group_too_small_for_the_rule_falls_back_to_the_mean_and_is_counted(runs_folder: Path) -> None:
    initial, final, rounds, _ = run("two-filtered", attack__malicious_fraction=0.0)
    assert [r.facts.get("groups.averaged") for r in rounds] == [None, 1.0, 1.0]
    assert not final["large"].equals(initial["large"])
    assert rounds[1].weights[1] == rounds[1].weights[3] == 0.5
    assert sum(weight > 0 for p, weight in rounds[1].weights.items() if p % 2 == 0) == 1, "Krum chooses one"


def test_or_keeps_its_model_where_the_system_says_so(runs_folder: Path) -> None:
    initial, final, rounds, _ = run("two-kept", attack__malicious_fraction=0.0)
    assert final["large"].equals(initial["large"])
    assert not final["small"].equals(initial["small"])
    assert "the model of large was kept" in rounds[1].notes[0]
    assert sorted(rounds[1].weights) == [0, 2, 4]


@pytest.mark.parametrize("strategy", ["two-models", "two-filtered"])
def test_a_resumed_run_ends_in_the_same_models(strategy: str, runs_folder: Path) -> None:
    common: dict[str, Scalar] = {
        "strategy": strategy,
        "run__checkpoint_every": 1,
        "attack__malicious_fraction": 0.0,
        **CNN,
    }
    whole, rounds = play(**common, run__rounds=3, output__name="whole")
    play(**common, run__rounds=2, output__name="cut")
    resumed, again = play(**common, run__rounds=3, output__name="cut", run__resume=True)
    found = [latest_checkpoint(Path(summary.folder) / "checkpoints") for summary in (whole, resumed)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].round == found[1].round == 3
    assert list(found[0].population) == list(found[1].population) == ["small", "large"]
    assert equal(found[0].population, found[1].population)
    assert whole.parameters_sha256 == resumed.parameters_sha256
    assert [r.ma_percent for r in rounds] == [r.ma_percent for r in again]


def test_a_purifier_works_on_every_model_with_a_state_of_its_own(runs_folder: Path) -> None:
    _, plain, _, _ = run(run__rounds=1)
    _, final, rounds, loop = run(run__rounds=1, purifier__name="clip-guided")
    assert not any(final[p].equals(plain[p]) for p in final)
    assert {"purifier.small.kt_loss_last", "purifier.large.kt_loss_last"} <= set(rounds[1].facts)
    assert set(loop.standing.states) >= {"purifier of small", "purifier of large"}


def silent(loop: Loop, population: Population, prototype: str) -> list[int]:
    """Channels of the last convolution whose output is zero in a prototype's model."""
    model = loop.parts.models[prototype]
    population[prototype].load_into(model)
    place = last_convolution(model, loop.parts.info.image_shape)
    inputs = torch.rand(8, *loop.parts.info.shape, generator=torch.Generator().manual_seed(0))
    activity = mean_activations(model, place.module, inputs, 8, torch.device("cpu"), "abs")
    return (activity == 0).nonzero().flatten().tolist()


def test_a_survey_goes_to_each_prototypes_own_clients(runs_folder: Path) -> None:
    """16 channels of the ResNet-8, 8 of the CNN: a fifth of each is silenced, by the answers of its own clients."""
    _, final, rounds, loop = run(repair__name="pruning", run__rounds=1)
    last = rounds[-1]
    assert (last.stage, last.participants, last.valid, last.dropped) == ("repair", [0, 1, 2, 3, 4], [0, 1, 2, 3, 4], {})
    assert {name: value for name, value in last.facts.items() if name.endswith("silenced")} == {
        "repair.small.silenced": 3.0, "repair.large.silenced": 1.0,
    }  # fmt: skip
    assert [len(silent(loop, final, prototype)) for prototype in ("small", "large")] == [3, 1]
    assert last.bytes_down == 3 * final["small"].nbytes + 2 * final["large"].nbytes
    assert last.bytes_up == 8 * (3 * 16 + 2 * 8)


def test_the_other_prototypes_liars_have_no_say(runs_folder: Path) -> None:
    """Client 1 answers upside down about the CNN; the ResNet-8 is pruned as if all told the truth."""
    common: dict[str, Scalar] = {
        "repair__name": "pruning", "repair__pruning__share": 0.5, "run__rounds": 1, "adversary__malicious_ids": "1",
        "poison__ratio": 0.0,
    }  # fmt: skip
    _, lied, _, _ = run(**common)
    _, honest, _, _ = run(**common, adversary__start_round=9)
    assert lied["small"].equals(honest["small"])
    assert not lied["large"].equals(honest["large"])


def test_a_prototype_without_an_answer_keeps_its_model(runs_folder: Path) -> None:
    """One client of five is asked, so that one of the two prototypes has nobody who could answer."""
    chosen: dict[str, Scalar] = {
        "repair__name": "pruning", "repair__pruning__everyone": False, "federation__fraction_train": 0.2,
        "federation__min_replies": 1, "run__rounds": 1,
    }  # fmt: skip
    _, final, rounds, loop = run(**chosen)
    (asked,) = rounds[-1].participants
    kept, pruned = ("small", "large") if asked % 2 else ("large", "small")
    assert f"no client of {kept} answered: its model was kept" in rounds[-1].notes
    assert silent(loop, final, pruned)
    assert not any(name.startswith(f"repair.{kept}.") for name in rounds[-1].facts)


def test_each_prototypes_model_is_checked_before_any_client_starts(runs_folder: Path) -> None:
    class Flat(TwoModels):
        """Invented: the second model has no convolution."""

        @classmethod
        def prototypes(cls, config: RunConfigBase) -> Mapping[str, RunConfigBase]:
            flat = config.model_copy(update={"model": config.model.model_copy(update={"name": "logistic"})})
            return {"small": config, "flat": flat}

    SYSTEMS.register("two-flat")(Flat)
    try:
        with pytest.raises(ConfigError, match=r"model\.name = 'logistic': the model has no convolution"):
            Plan.make(load(settings(strategy="two-flat", repair__name="pruning")))
    finally:
        del SYSTEMS._classes["two-flat"]


def test_a_population_travels_there_and_back() -> None:
    bounds = {"features.1": torch.tensor([0.5, 2.0])}
    population = {"a": Weights(torch.ones(3), torch.zeros(1), bounds), "b": Weights(torch.ones(2), torch.zeros(0))}
    found = population_in(population_arrays(population))
    assert list(found) == ["a", "b"]
    assert equal(found, population)
