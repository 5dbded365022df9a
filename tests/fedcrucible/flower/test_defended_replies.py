"""Replies that don't fit what was sent are dropped with their cause, and the run goes on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from fedcrucible.flower import Defended
from fedcrucible_core.config import ConfigError
from tests.support.own_app import content, honest, instead, record, run, values

START = {
    "layer.weight": np.ones((2, 3), np.float32),
    "bn.running_var": np.ones(2, np.float32),
    "bn.num_batches_tracked": np.array(3),
}
ODD = 2


def arrays_with(**changes: Any) -> Callable[[RecordDict], RecordDict]:
    """The honest reply with some arrays changed; None takes one away."""

    def change(made: RecordDict) -> RecordDict:
        own: dict[str, Any] = dict(made["arrays"])  # type: ignore[call-overload]
        for name, value in changes.items():
            key = name.replace("__", ".")
            if value is None:
                del own[key]
            else:
                own[key] = value if isinstance(value, Array) else Array(np.asarray(value))
        return RecordDict({"arrays": ArrayRecord(own), "metrics": made["metrics"]})

    return change


def metrics_with(**changes: Any) -> Callable[[RecordDict], RecordDict]:
    """The honest reply with some metrics changed; None takes one away."""

    def change(made: RecordDict) -> RecordDict:
        own = {**made["metrics"], **{k.replace("_x_", "-"): v for k, v in changes.items()}}  # type: ignore[dict-item]
        return RecordDict(
            {"arrays": made["arrays"], "metrics": MetricRecord({k: v for k, v in own.items() if v is not None})}
        )

    return change


def records(build: Callable[[RecordDict], dict[str, Any]]) -> Callable[[RecordDict], RecordDict]:
    """The honest reply with other records."""
    return lambda made: RecordDict(build(made))


VARIANCE = np.array([1.0, -0.1], np.float32)
GIANT = np.full((2, 3), 1e30, np.float32)
ODDITIES: dict[str, tuple[Callable[[RecordDict], RecordDict | None], str]] = {
    "raises": (lambda made: None, "error 2"),
    "missing key": (arrays_with(layer__weight=None), "misses 1 arrays: 'layer.weight'"),
    "extra key": (arrays_with(more=[1.0]), "unexpected 1 arrays: 'more'"),
    "renamed key": (arrays_with(layer__weight=None, layer__Weight=np.ones((2, 3), np.float32)), "misses"),
    "shape": (arrays_with(layer__weight=np.ones((3, 2), np.float32)), "has shape (3, 2), sent was (2, 3)"),
    "broadcastable": (arrays_with(layer__weight=np.ones((1, 3), np.float32)), "has shape (1, 3)"),
    "scalar": (arrays_with(layer__weight=np.float32(1)), "has shape ()"),
    "counter of one number": (arrays_with(bn__num_batches_tracked=[3]), "has shape (1,), sent was ()"),
    "nan": (arrays_with(layer__weight=np.full((2, 3), np.nan, np.float32)), "not finite"),
    "infinity": (arrays_with(layer__weight=np.full((2, 3), -np.inf, np.float32)), "not finite"),
    "giant": (arrays_with(layer__weight=GIANT), "as large as 1e+30"),
    "negative giant": (arrays_with(layer__weight=-GIANT), "as large as -1e+30"),
    "negative variance": (arrays_with(bn__running_var=VARIANCE), "negative (-0.1)"),
    "variance not finite": (arrays_with(bn__running_var=[np.nan, 1.0]), "not finite"),
    "float counter": (arrays_with(bn__num_batches_tracked=3.5), "is float64, sent was int64"),
    "float that is a flag": (arrays_with(layer__weight=np.ones((2, 3), bool)), "is bool, sent was float32"),
    "complex": (arrays_with(layer__weight=np.ones((2, 3), np.complex64)), "complex64"),
    "bytes": (arrays_with(layer__weight=np.ones((2, 3), np.uint8)), "uint8"),
    "text": (arrays_with(layer__weight=np.full((2, 3), "x")), "can't be aggregated"),
    "lying type": (
        arrays_with(layer__weight=Array("float32", (2, 3), "numpy.ndarray", Array(np.ones((2, 3))).data)),
        "is declared as float32 (2, 3), but holds float64 (2, 3)",
    ),
    "lying shape": (
        arrays_with(layer__weight=Array("float32", (2, 3), "numpy.ndarray", Array(np.ones(2, np.float32)).data)),
        "but holds float32 (2,)",
    ),
    "no room for what it claims": (
        arrays_with(
            layer__weight=Array(
                "float32", (2**40,), "numpy.ndarray",
                Array(np.ones(6, np.float32)).data.replace(b"(6,), }", b"(1099511627776,), }")[:160],
            )
        ),
        "needs 4398046511104",
    ),
    "cut short": (
        arrays_with(layer__weight=Array("float32", (2, 3), "numpy.ndarray", Array(np.ones((2, 3), "f4")).data[:-1])),
        "holds 23 bytes",
    ),
    "a zip file": (arrays_with(layer__weight=Array("float32", (2, 3), "numpy.ndarray", b"PK\x03\x04")), "no numpy"),
    "another serialisation": (
        arrays_with(layer__weight=Array("float32", (2, 3), "pickle", b"cos\nsystem\n(S'true'\ntR.")),
        "is serialised as 'pickle'",
    ),
    "two records of arrays": (records(lambda m: {**m, "more": m["arrays"]}), "2 records of type ArrayRecord"),
    "no arrays": (records(lambda m: {"metrics": m["metrics"]}), "0 records of type ArrayRecord"),
    "nothing": (records(lambda m: {}), "0 records of type ArrayRecord"),
    "no metrics": (records(lambda m: {"arrays": m["arrays"]}), "0 records of type MetricRecord"),
    "two records of metrics": (records(lambda m: {**m, "more": m["metrics"]}), "2 records of type MetricRecord"),
    "extra metric": (metrics_with(more=1.0), "'more' that no majority sends"),
    "missing metric": (metrics_with(train_loss=None), "no 'train_loss'"),
    "list in place of a number": (metrics_with(train_loss=[1.0, 2.0]), "list of 2"),
    "no weight": (metrics_with(num_x_examples=None), "num-examples is None"),
    "weight 0": (metrics_with(num_x_examples=0), "num-examples = 0"),
    "weight -3": (metrics_with(num_x_examples=-3), "num-examples = -3"),
    "weight nan": (metrics_with(num_x_examples=math.nan), "num-examples = nan"),
    "weight infinite": (metrics_with(num_x_examples=math.inf), "num-examples = inf"),
    "weight 1e18": (metrics_with(num_x_examples=1e18), "num-examples = 1e+18"),
    "weight 1e6 among tens": (metrics_with(num_x_examples=10**6), "over 1000 times the round's median"),
    "weight list": (metrics_with(num_x_examples=[10]), "num-examples is [10]"),
}  # fmt: skip


@pytest.mark.parametrize("name", ODDITIES)
def test_an_odd_reply_costs_itself_alone(name: str) -> None:
    change, said = ODDITIES[name]
    strategy = Defended("fedavg")
    found = run(strategy, START, instead(ODD, change), rounds=2)
    assert list(strategy.outcome.dropped) == [ODD]
    assert said in strategy.outcome.dropped[ODD]
    assert strategy.outcome.valid == [0, 1, 3, 4]
    assert found.train_metrics_clientapp[2] == {"train_loss": 1.0}
    four = Defended("fedavg")
    others = run(four, START, instead(ODD, ODDITIES["raises"][0]), rounds=2)
    for key in START:
        np.testing.assert_array_equal(found.arrays[key].numpy(), others.arrays[key].numpy())


def test_other_names_of_records_and_further_config_are_fine() -> None:
    def change(made: RecordDict) -> RecordDict:
        return RecordDict({"w": made["arrays"], "m": made["metrics"], "note": ConfigRecord({"x": "y"})})

    strategy = Defended("median")
    run(strategy, START, instead(ODD, change))
    assert strategy.outcome.dropped == {}


def test_types_of_other_width_are_judged_by_their_values() -> None:
    change = arrays_with(layer__weight=np.full((2, 3), 1.5, np.float16), bn__num_batches_tracked=np.int32(4))
    strategy = Defended("median")
    found = run(strategy, START, instead(ODD, change))
    assert strategy.outcome.dropped == {}
    assert found.arrays["bn.num_batches_tracked"].numpy().dtype == np.int64


def test_claims_are_bounded_where_the_app_says_so() -> None:
    strategy = Defended("fedavg", max_examples=12)
    run(strategy, START)
    assert sorted(strategy.outcome.dropped) == [3, 4]
    assert "at most 12" in strategy.outcome.dropped[4]


def test_where_no_metrics_are_usual_nobody_is_dropped() -> None:
    def reply(arrays: Any, client: int, round: int) -> RecordDict:
        return content(arrays, 10, **{f"loss_of_{client}": 1.0})

    strategy = Defended("fedavg")
    found = run(strategy, START, reply, clients=2)
    assert strategy.outcome.dropped == {}
    assert len(found.arrays) == 3


@pytest.mark.parametrize("clients", [1, 2])
@pytest.mark.parametrize("rule", ["fedavg", "flame", "median", "foolsgold", "rfa"])
def test_one_client_and_two(rule: str, clients: int) -> None:
    strategy = Defended(rule, min_train_nodes=1, min_evaluate_nodes=1, min_available_nodes=1)
    found = run(strategy, START, clients=clients, rounds=2)
    assert list(found.arrays) == list(START)
    assert strategy.outcome.notes == []


def test_no_valid_reply_in_any_round_leaves_the_model_as_it_is() -> None:
    strategy = Defended("fedavg")
    found = run(strategy, START, lambda a, c, r: RecordDict(), rounds=3)
    assert all("0 records" in cause for cause in strategy.outcome.dropped.values())
    assert strategy.outcome.model == "initial"
    assert "the model is kept" in strategy.outcome.notes[0]
    for key, expected in START.items():
        np.testing.assert_array_equal(found.arrays[key].numpy(), expected)


def test_all_identical_replies_are_their_own_aggregate() -> None:
    goal = {**START, "layer.weight": np.full((2, 3), 0.25, np.float32)}
    for rule in ("fedavg", "krum", "median", "flame", "rfa", "clip-fed-filter"):
        parameters = {"noise": 0.0} if rule == "flame" else {}
        found = values(run(Defended(rule, **parameters), START, lambda a, c, r: content(goal)).arrays)
        np.testing.assert_allclose(found["layer.weight"], 0.25, atol=1e-6, err_msg=rule)


def test_a_rule_that_cant_judge_what_is_left_keeps_the_model() -> None:
    def most_fail(arrays: Any, client: int, round: int) -> RecordDict:
        return honest(arrays, client, round) if client < 2 or round == 1 else RecordDict()

    strategy = Defended("bulyan", f=1)
    found = run(strategy, START, most_fail, clients=7, rounds=2)
    assert strategy.outcome.model == "kept"
    assert "bulyan" in strategy.outcome.notes[0]
    after_one = run(Defended("bulyan", f=1), START, most_fail, clients=7)
    np.testing.assert_array_equal(found.arrays["layer.weight"].numpy(), after_one.arrays["layer.weight"].numpy())


def test_too_few_clients_for_a_rule_are_refused_before_anybody_trains() -> None:
    asked: list[int] = []

    def reply(arrays: Any, client: int, round: int) -> RecordDict:
        asked.append(client)
        return honest(arrays, client, round)

    with pytest.raises(ConfigError, match="krum"):
        run(Defended("krum", f=3), START, reply)
    assert asked == []


def test_evaluations_that_are_odd_count_for_nothing() -> None:
    from tests.support.own_app import app_of

    def evaluate(client: int) -> RecordDict:
        odd: dict[int, Any] = {1: content({}, 10), 2: RecordDict(), 3: content({}, -1, accuracy=0.4)}
        made: RecordDict = odd.get(client, content({}, 10, accuracy=0.5))
        return made

    strategy = Defended("fedavg")
    found = run(strategy, START, app=app_of(honest, evaluate), clients=7)
    assert found.evaluate_metrics_clientapp == {1: {"accuracy": 0.5}}
    assert sorted(strategy.outcome.evaluations_dropped) == [1, 2, 3]
    assert strategy.outcome.client_metrics[0] == {"examples": 10.0, "ma_percent": 50.0}


def test_a_metrics_function_that_fails_costs_the_metrics_alone() -> None:
    def broken(contents: Any, key: str) -> MetricRecord:
        raise KeyError("x")

    strategy = Defended("fedavg", train_metrics_aggr_fn=broken, evaluate_metrics_aggr_fn=broken)
    found = run(strategy, START)
    assert found.train_metrics_clientapp == {}
    assert found.arrays["layer.weight"].numpy().any()
    assert len([note for note in strategy.outcome.notes if "KeyError" in note]) == 2


@pytest.mark.parametrize("loss", [math.nan, math.inf, 10**400])
def test_metrics_that_arent_finite_spoil_no_others(loss: float) -> None:
    from tests.support.own_app import app_of

    def evaluate(client: int) -> RecordDict:
        return content({}, 10, loss=loss if client == ODD else 0.5)

    strategy = Defended("fedavg")
    reply = instead(ODD, metrics_with(train_loss=loss))
    found = run(strategy, START, app=app_of(reply, evaluate))
    assert found.train_metrics_clientapp == {1: {"train_loss": 1.0}}
    assert found.evaluate_metrics_clientapp == {1: {"loss": 0.5}}
    assert strategy.outcome.valid == [0, 1, 2, 3, 4]
    assert [note for note in strategy.outcome.notes if "[2] aren't finite" in note]


def test_replies_of_nobody_and_twice_are_no_further_votes() -> None:
    from flwr.app import Message

    from fedcrucible.engines.local_grid import LocalGrid
    from tests.support.own_app import app_of

    strategy, grid = Defended("fedavg"), LocalGrid(app_of(honest), 3, {})
    arrays = record(START)
    messages = list(strategy.configure_train(1, arrays, ConfigRecord(), grid))
    replies = list(grid.send_and_receive(messages))
    stranger = Message(content({**START, "layer.weight": GIANT / 1e20}), dst_node_id=1, message_type="train")
    again = Message(content({**START, "layer.weight": GIANT / 1e20}), reply_to=messages[0])
    strategy.aggregate_train(1, [replies[0], again, stranger, *replies[1:], replies[1]])
    assert strategy.outcome.valid == [0, 1, 2]
    assert strategy.outcome.dropped == {}
