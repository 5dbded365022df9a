"""Clients measure on test data of their own, where that is asked for; what they say is checked, summed up and shown."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from attacks.own_rows import own_share
from client_app.app import app as honest_app
from client_app.evaluation import asr_allowed
from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import flatten, load
from fedcrucible_core.learning.partition.shares import ClientShare
from fedcrucible_core.records import files
from fedcrucible_core.records.reader import parsed, read
from fedcrucible_core.records.site_matrix import SiteMatrix
from fedcrucible_core.records.verification import verify
from server_app.plan import Plan
from server_app.run import execute
from tests.support.tiny_runs import Scalar, play, settings

ASKED: dict[str, Scalar] = {"federation__fraction_evaluate": 1.0, "partition__test_fraction": 0.3}


def test_each_client_says_what_the_model_is_worth_on_its_own_images(runs_folder: Path) -> None:
    _, rounds = play(**ASKED)
    assert [len(r.client_metrics) for r in rounds] == [0, 5, 5]
    metrics = rounds[2].client_metrics
    rates = [said["ma_percent"] for said in metrics.values()]
    assert list(metrics) == ["0", "1", "2", "3", "4"]
    assert all(said["examples"] == 12 for said in metrics.values()), "0.3 of 40"
    assert all((rate * 12 / 100) == pytest.approx(round(rate * 12 / 100)) for rate in rates)
    facts = rounds[2].facts
    assert facts["clients.ma_mean_percent"] == pytest.approx(statistics.fmean(rates))
    assert facts["clients.ma_spread_percent"] == pytest.approx(statistics.pstdev(rates))
    assert facts["clients.ma_worst_percent"] == min(rates)
    assert facts["clients.asr_worst_percent"] == max(said["asr_percent"] for said in metrics.values())
    assert (facts["clients.measured"], facts["clients.dropped"]) == (5.0, 0.0)


def test_runs_that_do_not_ask_record_nothing_of_it(runs_folder: Path) -> None:
    summary, rounds = play()
    lines = (Path(summary.folder) / files.METRICS).read_text().splitlines()
    assert not any("client_metrics" in json.loads(line) for line in lines)
    assert not any(name.startswith("clients.") for r in rounds for name in r.facts)


def test_measuring_changes_no_model(runs_folder: Path) -> None:
    asked, _ = play(**ASKED)
    silent, _ = play(partition__test_fraction=0.3)
    other, _ = play()
    assert asked.parameters_sha256 == silent.parameters_sha256 != other.parameters_sha256


def test_a_share_of_the_clients_is_drawn_by_seed_and_round(runs_folder: Path) -> None:
    half = {**ASKED, "federation__fraction_evaluate": 0.4, "run__rounds": 4}
    _, rounds = play(**half)
    _, again = play(**half)
    drawn = [tuple(r.client_metrics) for r in rounds[1:]]
    assert [len(each) for each in drawn] == [2, 2, 2, 2]
    assert len(set(drawn)) > 1
    assert [r.client_metrics for r in rounds] == [r.client_metrics for r in again]


def test_only_in_rounds_that_are_evaluated(runs_folder: Path) -> None:
    _, rounds = play(**ASKED, run__rounds=3, run__eval_every=2)
    assert [len(r.client_metrics) for r in rounds] == [0, 0, 5, 5]


def test_untargeted_attacks_have_no_rate(runs_folder: Path) -> None:
    _, rounds = play(**ASKED, attack__name="sign-flip")
    assert all(set(said) == {"examples", "ma_percent"} for said in rounds[1].client_metrics.values())
    assert "clients.asr_mean_percent" not in rounds[1].facts


def test_nobody_trains_on_a_test_image() -> None:
    config = load(settings(partition__test_fraction=0.25))
    whole = load(settings())
    for partition in range(5):
        share = own_share(config, partition)
        assert not set(share.train.tolist()) & set(share.test.tolist())
        assert sorted([*share.train.tolist(), *share.test.tolist()]) == own_share(whole, partition).train.tolist()
        assert len(share.test) == 10


@pytest.mark.parametrize(
    ("rows", "fraction", "kept"), [(10, 0.0, 0), (10, 0.29, 2), (2, 0.1, 1), (1, 0.5, 0), (0, 0.5, 0)]
)
def test_a_share_leaves_something_to_train_on(rows: int, fraction: float, kept: int) -> None:
    share = ClientShare.of(torch.arange(rows), fraction, 1, 0)
    assert (len(share.train), len(share.test)) == (rows - kept, kept)
    assert torch.equal(share.train, share.train.sort().values)


def test_asking_without_a_test_share_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"federation\.fraction_evaluate = 1\.0: .*partition\.test_fraction"):
        Plan.make(load(settings(federation__fraction_evaluate=1.0)))


# --- hostile answers --------------------------------------------------------------------------------------------------


def _metrics(**changed: Any) -> RecordDict:
    values = {"num-examples": 12, "accuracy-percent": 50.0, "asr-percent": 10.0, **changed}
    kept = {key.replace("_", "-"): value for key, value in values.items() if value is not None}
    return RecordDict({"metrics": MetricRecord(kept), "client": ConfigRecord({"partition-id": 2})})


def _raise() -> RecordDict:
    raise RuntimeError("\x1b[31mno data")


LIES: dict[str, tuple[Callable[[], RecordDict], str]] = {
    "too good": (lambda: _metrics(**{"accuracy-percent": 100.5}), "accuracy-percent is 100.5, allowed 0 to 100"),
    "four times": (lambda: _metrics(**{"accuracy-percent": 400.0}), "accuracy-percent is 400.0, allowed 0 to 100"),
    "endless text": (
        lambda: RecordDict({**_metrics(), "client": ConfigRecord({"partition-id": "\x1b" + "9" * 10**6})}),
        "claims to be partition",
    ),
    "a word for a truth value": (
        lambda: RecordDict({**_metrics(), "client": ConfigRecord({"partition-id": 2, "asr-allowed": "no"})}),
        "asr-allowed is 'no'",
    ),
    "refused and told": (
        lambda: RecordDict({**_metrics(), "client": ConfigRecord({"partition-id": 2, "asr-allowed": False})}),
        "asr-percent is there, though asr-allowed is false",
    ),
    "negative": (lambda: _metrics(**{"asr-percent": -1.0}), "asr-percent is -1.0"),
    "nan": (lambda: _metrics(**{"accuracy-percent": math.nan}), "accuracy-percent is nan"),
    "list": (lambda: _metrics(**{"accuracy-percent": [1.0, 2.0]}), "accuracy-percent is"),
    "missing": (lambda: _metrics(**{"accuracy-percent": None}), "accuracy-percent is None"),
    "many examples": (lambda: _metrics(**{"num-examples": 10**9}), "claims 1000000000 examples"),
    "half an example": (lambda: _metrics(**{"num-examples": 1.5}), "not a whole number"),
    "gift": (lambda: _metrics(gift=1.0), "unexpected metrics"),
    "arrays": (lambda: RecordDict({"metrics": ArrayRecord(), "client": ConfigRecord()}), "not a MetricRecord"),
    "impostor": (
        lambda: RecordDict({**_metrics(), "client": ConfigRecord({"partition-id": 0})}),
        "claims to be partition 0",
    ),
    "raises": (_raise, "no data"),
}


@pytest.mark.parametrize("kind", LIES)
def test_a_hostile_answer_is_dropped_counted_and_shown(kind: str, runs_folder: Path) -> None:
    lie, cause = LIES[kind]
    app = ClientApp()

    @app.train()
    def train(msg: Message, context: Context) -> Message:
        return honest_app(msg, context)

    @app.evaluate()
    def evaluate(msg: Message, context: Context) -> Message:
        return Message(lie(), reply_to=msg) if context.node_config["partition-id"] == 2 else honest_app(msg, context)

    plan = Plan.make(load(settings(**ASKED, run__rounds=1)))
    summary = execute(plan, LocalGrid(app, 5, flatten(plan.config)), in_order=True)
    last = read(Path(summary.folder)).rounds[1]
    assert list(last.client_metrics) == ["0", "1", "3", "4"]
    assert (last.facts["clients.measured"], last.facts["clients.dropped"]) == (4.0, 1.0)
    (note,) = [note for note in last.notes if "evaluation of client 2 dropped" in note]
    assert cause in note
    assert note.isprintable()
    matrix = parsed(Path(summary.folder) / files.SITES, SiteMatrix)
    assert cause in matrix.sites[2].causes["1"]
    assert (matrix.sites[2].state, matrix.dropped, matrix.sites[2].last_round) == (("dropped",), 1, None)
    told = [said["ma_percent"] for said in last.client_metrics.values()]
    assert last.facts["clients.ma_mean_percent"] == pytest.approx(statistics.fmean(told))


def test_attack_success_is_measured_only_where_a_site_allows_it(runs_folder: Path) -> None:
    plan = Plan.make(load(settings(**ASKED, run__rounds=1)))
    grid = LocalGrid(honest_app, 5, flatten(plan.config), node_configs={1: {"measure-asr": False}})
    summary = execute(plan, grid, in_order=True)
    folder = Path(summary.folder)
    last = read(folder).rounds[1]
    assert set(last.client_metrics["1"]) == {"examples", "ma_percent", "asr_refused"}
    assert all("asr_percent" in last.client_metrics[str(site)] for site in (0, 2, 3, 4))
    told = [last.client_metrics[str(site)]["asr_percent"] for site in (0, 2, 3, 4)]
    assert last.facts["clients.asr_mean_percent"] == pytest.approx(statistics.fmean(told))
    matrix = parsed(folder / files.SITES, SiteMatrix)
    assert [row.asr_allowed for row in matrix.sites] == [True, False, True, True, True]
    assert summary.clients is not None
    assert summary.clients.worst_client == matrix.worst_site
    assert verify(folder).whole
    (folder / files.SITES).write_text("{}")
    assert not verify(folder).whole


@pytest.mark.parametrize(
    ("node", "allowed"),
    [({}, True), ({"own-data": True}, False), ({"own-data": True, "measure-asr": True}, True),
     ({"measure-asr": False}, False)],
)  # fmt: skip
def test_own_data_is_nobodys_to_put_triggers_on_unless_the_site_says_so(node: dict[str, Scalar], allowed: bool) -> None:
    assert asr_allowed(_context(node)) is allowed


def test_a_word_that_is_no_truth_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="node-config measure-asr = 'yes': allowed: true, false"):
        asr_allowed(_context({"measure-asr": "yes"}))


def _context(node: dict[str, Scalar]) -> Context:
    return Context(1, 2, {"partition-id": 0, **node}, RecordDict(), {})


@pytest.mark.parametrize(("every", "expected"), [(0, [0, 5, 5, 5]), (2, [0, 0, 5, 5]), (9, [0, 0, 0, 5])])
def test_clients_may_measure_less_often_than_the_server(every: int, expected: list[int], runs_folder: Path) -> None:
    _, rounds = play(**ASKED, federation__evaluate_every=every, run__rounds=3)
    assert [len(r.client_metrics) for r in rounds] == expected
    assert all(r.ma_percent is not None for r in rounds)
