"""After the last round: the survey of clients, what the rule does with it, and what hostile answers come to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from safetensors.torch import load_file

from client_app.app import app as honest_app
from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import flatten, load
from fedcrucible_core.config.old_keys import OldKeyWarning
from fedcrucible_core.records import files
from fedcrucible_core.records.reader import read
from server_app.plan import Plan
from server_app.run import execute
from strategies.client_metrics import ClientMetrics
from strategies.population import Population
from strategies.survey_messages import SURVEY
from tests.support.tiny_runs import play, settings

CHANNELS = 16
SILENCED = 3
"""A fifth of them, rounded down."""


def silent_channels(folder: str) -> list[int]:
    model = load_file(Path(folder) / files.MODEL)
    weight, bias = model["features.5.norm2.weight"], model["features.5.norm2.bias"]
    silent: list[int] = ((weight == 0) & (bias == 0)).nonzero().flatten().tolist()
    return silent


def test_the_model_before_and_after_is_on_record(runs_folder: Path) -> None:
    summary, rounds = play(strategy="pruning")
    plain, plain_rounds = play()
    assert [(r.round, r.stage) for r in rounds] == [(0, "training"), (1, "training"), (2, "training"), (3, "repair")]
    assert [r.ma_percent for r in rounds[:3]] == [r.ma_percent for r in plain_rounds], "training is FedAvg"
    repaired = rounds[3]
    assert repaired.facts["repair.silenced"] == SILENCED
    assert repaired.facts["repair.ma_before_percent"] == rounds[2].ma_percent
    assert repaired.facts["repair.asr_before_percent"] == rounds[2].asr_percent
    assert repaired.participants == (0, 1, 2, 3, 4)
    assert repaired.malicious == rounds[2].malicious
    assert repaired.weights == {}
    assert repaired.bytes_up == 5 * 8 * CHANNELS
    assert repaired.bytes_down == rounds[2].bytes_down
    assert summary.rounds == 2
    assert summary.ma_percent == repaired.ma_percent
    assert (summary.last_rounds, summary.ma_last_mean_percent) == (1, repaired.ma_percent)
    assert summary.parameters_sha256 != plain.parameters_sha256
    assert len(silent_channels(summary.folder)) == SILENCED


def test_clients_that_measure_say_what_the_repaired_model_is_worth(
    runs_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Population] = []
    ask = ClientMetrics.ask

    def noted(self: ClientMetrics, server_round: int, population: Population, grid: Grid) -> list[Message]:
        sent.append(population)
        return ask(self, server_round, population, grid)

    monkeypatch.setattr(ClientMetrics, "ask", noted)
    summary, rounds = play(strategy="pruning", federation__fraction_evaluate=1.0, partition__test_fraction=0.3)
    assert [len(r.client_metrics) for r in rounds] == [0, 5, 5, 5]
    before, after = (population["model"].parameters for population in sent[-2:])
    assert not torch.equal(before, after)
    assert summary.clients is not None
    assert summary.clients.ma_last_three_mean_percent == rounds[3].facts["clients.ma_mean_percent"]
    assert summary.clients.asr_mean_percent == rounds[3].facts["clients.asr_mean_percent"]
    silent, _ = play(strategy="pruning", partition__test_fraction=0.3)
    assert summary.parameters_sha256 == silent.parameters_sha256, "measuring changes no model"
    assert silent.clients is None


@pytest.mark.parametrize("method", ["ranks", "votes"])
def test_same_seed_same_model(method: str, runs_folder: Path) -> None:
    chosen = {"strategy": "pruning", "repair__pruning__method": method, "run__rounds": 1}
    first, second = play(**chosen)[0], play(**chosen)[0]
    assert first.parameters_sha256 == second.parameters_sha256


def test_asked_nodes_and_nodes_in_order_end_in_the_same_model(runs_folder: Path) -> None:
    """As in a deployment: partitions are queried, replies pulled one by one."""
    expected, _ = play(strategy="pruning", run__rounds=1)
    plan = Plan.make(load(settings(strategy="pruning", run__rounds=1)))
    summary = execute(plan, LocalGrid(honest_app, 5, flatten(plan.config)), in_order=False)
    assert summary.parameters_sha256 == expected.parameters_sha256


def test_a_resumed_run_repeats_the_repair(runs_folder: Path) -> None:
    common = {"strategy": "pruning", "output__name": "cut", "run__checkpoint_every": 1}
    whole, rounds = play(**common)
    again, repeated = play(**common, run__resume=True)
    assert again.parameters_sha256 == whole.parameters_sha256
    assert [(r.round, r.stage) for r in repeated] == [(r.round, r.stage) for r in rounds]
    assert repeated[-1].facts["repair.ma_before_percent"] == rounds[-1].facts["repair.ma_before_percent"]


def test_a_longer_run_goes_on_from_the_model_before_the_repair(runs_folder: Path) -> None:
    whole, _ = play(strategy="pruning", run__rounds=3)
    common = {"strategy": "pruning", "output__name": "cut", "run__checkpoint_every": 1}
    play(**common)
    longer, rounds = play(**common, run__rounds=3, run__resume=True)
    assert longer.parameters_sha256 == whole.parameters_sha256
    assert [(r.round, r.stage) for r in rounds] == [*((t, "training") for t in range(4)), (4, "repair")]


def test_any_rule_can_be_followed_by_it(runs_folder: Path) -> None:
    """FLAME's own rounds, then the survey; the same as FLAME before it."""
    summary, rounds = play(strategy="flame", repair__name="pruning", run__rounds=1)
    plain, plain_rounds = play(strategy="flame", run__rounds=1)
    assert [r.stage for r in rounds] == ["training", "training", "repair"]
    assert rounds[1].facts == plain_rounds[1].facts
    assert rounds[1].weights == plain_rounds[1].weights
    assert len(silent_channels(summary.folder)) == SILENCED
    assert summary.parameters_sha256 != plain.parameters_sha256
    found = read(Path(summary.folder)).run
    assert (found.rule, found.repair) == ("flame", "pruning")
    assert found.knowledge["pruning"] == ("honest clients' cooperation",)


def test_the_strategy_without_its_repair_is_fedavg(runs_folder: Path) -> None:
    off, rounds = play(strategy="pruning", repair__name="none", run__rounds=1)
    assert [r.stage for r in rounds] == ["training", "training"]
    assert off.parameters_sha256 == play(run__rounds=1)[0].parameters_sha256


def test_settings_of_the_time_when_it_was_a_rule_end_in_the_same_model(runs_folder: Path) -> None:
    today, _ = play(strategy="fedavg", repair__name="pruning", repair__pruning__share=0.5, run__rounds=1)
    with pytest.warns(OldKeyWarning, match=r"defense\.pruning\.share is now repair\.pruning\.share"):
        before, _ = play(defense__name="pruning", defense__pruning__share=0.5, run__rounds=1)
    assert before.parameters_sha256 == today.parameters_sha256


def test_before_the_purifier_the_purified_model_is_pruned(runs_folder: Path) -> None:
    summary, rounds = play(strategy="fine-tune", repair__name="pruning", run__rounds=1)
    assert "purifier.diverged" in rounds[1].facts
    assert rounds[-1].stage == "repair"
    assert len(silent_channels(summary.folder)) == SILENCED


def test_as_many_as_take_part_can_be_asked(runs_folder: Path) -> None:
    chosen = {"strategy": "pruning", "repair__pruning__everyone": False, "federation__fraction_train": 0.6}
    _, rounds = play(**chosen, run__rounds=1)
    assert len(rounds[-1].participants) == 3


def test_the_servers_images_are_made_when_they_are_watched(runs_folder: Path) -> None:
    _, rounds = play(strategy="pruning", repair__pruning__max_drop=100.0, run__rounds=1)
    facts = rounds[-1].facts
    assert facts["repair.silenced"] == SILENCED
    assert 0 <= facts["repair.server_accuracy_after_percent"] <= 100


def test_no_rounds_no_repair(runs_folder: Path) -> None:
    assert [r.stage for r in play(strategy="pruning", run__rounds=0)[1]] == ["training"]


Break = Callable[[RecordDict], RecordDict]


def _answer(content: RecordDict, **arrays: np.ndarray) -> RecordDict:
    return RecordDict({**content, SURVEY: ArrayRecord({name: Array(value) for name, value in arrays.items()})})


def _ranks(content: RecordDict) -> np.ndarray:
    return content[SURVEY]["answer"].numpy().copy()


def _raise(content: RecordDict) -> RecordDict:
    raise RuntimeError("no activations today")


def _tie(content: RecordDict) -> RecordDict:
    values = _ranks(content)
    values[0] = values[1]
    return _answer(content, answer=values)


def _lie_about_partition(content: RecordDict) -> RecordDict:
    return RecordDict({**content, "client": ConfigRecord({"partition-id": 0})})


def _garbage(content: RecordDict) -> RecordDict:
    broken = Array(dtype="int64", shape=(CHANNELS,), stype="numpy.ndarray", data=b"\x93NUMPY no array")
    return RecordDict({**content, SURVEY: ArrayRecord({"answer": broken})})


KINDS: dict[str, tuple[Break, str]] = {
    "raises": (_raise, "error 2"),
    "tie": (_tie, "no permutation"),
    "short": (lambda c: _answer(c, answer=_ranks(c)[:-1]), "shape"),
    "float": (lambda c: _answer(c, answer=_ranks(c).astype(np.float32)), "float32, not int64"),
    "matrix": (lambda c: _answer(c, answer=_ranks(c)[None]), "shape"),
    "other name": (lambda c: _answer(c, ranks=_ranks(c)), "arrays"),
    "two arrays": (lambda c: _answer(c, answer=_ranks(c), more=_ranks(c)), "arrays"),
    "impostor": (_lie_about_partition, "claims to be partition 0"),
    "garbage": (_garbage, "unreadable"),
    "empty": (lambda _: RecordDict(), "missing"),
    "gift": (lambda c: RecordDict({**c, "gift": ConfigRecord({"x": 1})}), "unexpected"),
    "wrong kind": (lambda c: RecordDict({**c, SURVEY: ConfigRecord({"answer": 1})}), "not a ArrayRecord"),
}
HONEST = 3


def hostile_app(kinds: list[Break]) -> ClientApp:
    """Trains honestly; clients after the first three break their answers to the survey."""
    hostile = ClientApp()

    @hostile.train()
    def train(msg: Message, context: Context) -> Message:
        return honest_app(msg, context)

    @hostile.query(SURVEY)
    def survey(msg: Message, context: Context) -> Message:
        reply = honest_app(msg, context)
        kind = int(context.node_config["partition-id"]) - HONEST
        return reply if kind < 0 else Message(kinds[kind](reply.content), reply_to=msg)

    return hostile


def against(kinds: list[Break], **changes: str | int | float | bool) -> Path:
    clients = HONEST + len(kinds)
    chosen = settings(
        strategy="pruning", federation__clients=clients, task__train_samples=20 * clients, run__rounds=1,
        adversary__malicious_fraction=0.0, **changes,
    )  # fmt: skip
    plan = Plan.make(load(chosen))
    return Path(execute(plan, LocalGrid(hostile_app(kinds), clients, flatten(plan.config)), in_order=True).folder)


def test_every_kind_of_answer_is_dropped_and_named(runs_folder: Path) -> None:
    found = read(against([kind for kind, _ in KINDS.values()]))
    repaired = found.rounds[-1]
    assert repaired.stage == "repair"
    assert len(repaired.dropped) == len(KINDS)
    for place, (name, (_, cause)) in enumerate(KINDS.items()):
        assert cause in repaired.dropped[str(HONEST + place)], name
    assert repaired.facts["repair.silenced"] == SILENCED
    assert sum(found.summary.dropped.values()) == len(KINDS)
    assert found.rounds[1].dropped == {}, "they trained honestly"


def test_dropped_answers_have_no_say(runs_folder: Path) -> None:
    """The same channels as if the hostile clients had not answered at all."""
    kinds = [kind for kind, _ in list(KINDS.values())[:4]]
    nobody = [_raise] * 4
    assert silent_channels(str(against(kinds))) == silent_channels(str(against(nobody)))


def test_too_few_answers_keep_the_model(runs_folder: Path) -> None:
    folder = against([_tie] * 3, federation__min_replies=4)
    repaired = read(folder).rounds[-1]
    assert repaired.notes == ("3 valid answers, 4 needed: the model was kept",)
    assert repaired.ma_percent == repaired.facts["repair.ma_before_percent"]
    assert silent_channels(str(folder)) == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"strategy": "server-data-only"}, "asks clients about the final model, strategy 'server-data-only' has none"),
        ({"strategy": "guide-zero-shot"}, "there is no model to repair"),
        ({"repair__name": "prunning"}, "did you mean 'pruning'"),
    ],
)
def test_what_can_not_be_repaired_is_refused(changes: dict[str, str], why: str) -> None:
    with pytest.raises(ConfigError, match=rf"repair\.name = .*{why}"):
        Plan.make(load(settings(**{"repair__name": "pruning", **changes})))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"strategy": "pruning"}, "no convolution; repair 'pruning' needs that"),
        ({"strategy": "flpurifier"}, "no feature extractor"),
        ({"strategy": "fine-tune"}, "no feature extractor"),
    ],
)
def test_models_that_do_not_fit_are_refused_before_any_client_starts(changes: dict[str, str], why: str) -> None:
    with pytest.raises(ConfigError, match=f"model.name = 'logistic'.*{why}"):
        Plan.make(load(settings(model__name="logistic", **changes)))
