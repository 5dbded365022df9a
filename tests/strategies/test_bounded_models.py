"""Bounds on activations are part of the model that is measured, sent out to be measured and kept, not of training."""

from __future__ import annotations

from pathlib import Path

import pytest
from flwr.app import Context, Message, MessageType
from flwr.clientapp import ClientApp
from safetensors.torch import load_file

from client_app.app import app as honest_app
from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible_core.config.load import flatten, load
from fedcrucible_core.records import files
from server_app.plan import Plan
from server_app.run import execute
from strategies.messages import MODEL, from_arrays
from tests.support.tiny_runs import Scalar, play, settings

BOUNDED: dict[str, Scalar] = {"purifier__name": "activation-bounds", "purifier__activation-bounds__trusted": "all"}
TIGHT: dict[str, Scalar] = {**BOUNDED, "purifier__activation-bounds__quantile": 0.3}
ASKED: dict[str, Scalar] = {"federation__fraction_evaluate": 1.0, "partition__test_fraction": 0.3}


class Listener:
    """The honest client, and which modules were bounded in the messages that it got, by message type."""

    def __init__(self) -> None:
        self.bounded: dict[str, list[int]] = {MessageType.TRAIN: [], MessageType.EVALUATE: []}

    def app(self) -> ClientApp:
        listener, heard = self, ClientApp()

        @heard.train()
        def train(msg: Message, context: Context) -> Message:
            return listener.passed_on(msg, context)

        @heard.evaluate()
        def evaluate(msg: Message, context: Context) -> Message:
            return listener.passed_on(msg, context)

        return heard

    def passed_on(self, msg: Message, context: Context) -> Message:
        self.bounded[msg.metadata.message_type].append(len(from_arrays(msg.content.array_records[MODEL]).bounds))
        return honest_app(msg, context)


def test_clients_train_without_bounds_and_measure_with_them(runs_folder: Path) -> None:
    listener, config = Listener(), load(settings(**BOUNDED, **ASKED))
    execute(Plan.make(config), LocalGrid(listener.app(), 5, flatten(config)), in_order=True)
    assert listener.bounded[MessageType.TRAIN] == [0] * 10
    assert listener.bounded[MessageType.EVALUATE] == [7] * 10


def test_rates_change_and_training_does_not(runs_folder: Path) -> None:
    """Parameters are those of plain FedAvg after every round; what is measured is the bounded model."""
    plain, plain_rounds = play()
    tight, rounds = play(**TIGHT)
    stored = [load_file(Path(summary.folder) / files.MODEL) for summary in (plain, tight)]
    assert all(tensor.equal(stored[1][name]) for name, tensor in stored[0].items())
    assert len([name for name in stored[1] if name.startswith("bounds.")]) == len(stored[1]) - len(stored[0]) == 7
    assert plain.parameters_sha256 != tight.parameters_sha256, "another model all the same"
    assert rounds[2].confusion != plain_rounds[2].confusion
    assert rounds[2].facts["purifier.bounds"] == 60.0


def test_a_resumed_run_ends_in_the_same_bounded_model(runs_folder: Path) -> None:
    common: dict[str, Scalar] = {**BOUNDED, "run__checkpoint_every": 1}
    whole, rounds = play(**common, run__rounds=3, output__name="whole")
    play(**common, run__rounds=2, output__name="cut")
    resumed, again = play(**common, run__rounds=3, output__name="cut", run__resume=True)
    assert whole.parameters_sha256 == resumed.parameters_sha256
    assert [r.ma_percent for r in rounds] == [r.ma_percent for r in again]


def test_a_pruned_model_keeps_its_bounds(runs_folder: Path) -> None:
    summary, rounds = play(**BOUNDED, repair__name="pruning", run__rounds=1)
    assert rounds[-1].facts["repair.silenced"] == 3
    stored = load_file(Path(summary.folder) / files.MODEL)
    assert len([name for name in stored if name.startswith("bounds.")]) == 7


@pytest.mark.parametrize("strategy", ["central", "krum"])
def test_any_system_can_be_followed_by_it(strategy: str, runs_folder: Path) -> None:
    bounded, rounds = play(**BOUNDED, strategy=strategy, run__rounds=2)
    plain, _ = play(strategy=strategy, run__rounds=2)
    stored = [load_file(Path(summary.folder) / files.MODEL) for summary in (plain, bounded)]
    assert all(tensor.equal(stored[1][name]) for name, tensor in stored[0].items())
    assert rounds[2].facts["purifier.bounds"] == 60.0
