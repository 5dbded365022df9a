"""What one client says alone decides nothing that no rule judges; and what is held of replies is let go."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg

from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible.flower import Defended
from tests.support.own_app import Reply, Values, app_of, content, honest, record, run, values

START: dict[str, Values] = {"w": np.zeros((3, 4), np.float32), "position_ids": np.arange(5), "n": np.array(7)}


def with_changes(client: int, **changes: Values) -> Reply:
    """All are honest with their floats; one client sends other arrays beside them."""

    def reply(arrays: dict[str, Values], number: int, round: int) -> RecordDict:
        made = values(honest({"w": arrays["w"]}, number, round)["arrays"])  # type: ignore[arg-type]
        changed = {key: changes.get(key, array) if number == client else array for key, array in arrays.items()}
        return content({**changed, **made}, 10)

    return reply


@pytest.mark.parametrize("rule", ["fedavg", "median", "trimmed-mean", "multi-krum", "flame"])
def test_one_client_does_not_decide_whole_numbers(rule: str) -> None:
    lying = with_changes(2, position_ids=np.arange(5) + 10**9, n=np.array(2**62))
    found = values(run(Defended(rule), START, lying, rounds=2).arrays)
    np.testing.assert_array_equal(found["position_ids"], np.arange(5))
    assert found["n"] == 7


def test_most_clients_do_element_by_element() -> None:
    def reply(arrays: dict[str, Values], client: int, round: int) -> RecordDict:
        moved = np.array([5, 5 if client < 3 else 6, client, 3, 4])
        return content({**arrays, "position_ids": moved}, 10)

    found = values(run(Defended("fedavg"), START, reply).arrays)
    assert found["position_ids"].tolist() == [5, 5, 2, 3, 4]  # of the third nobody has a majority: it stays
    assert found["position_ids"].dtype == np.int64


def test_whole_numbers_of_another_type_keep_every_digit() -> None:
    start = {"w": np.zeros(3, np.float32), "step": np.array(2**60, np.uint64), "index": np.array([2**60, 1], np.uint64)}

    def reply(arrays: dict[str, Values], client: int, round: int) -> RecordDict:
        kind = np.int64 if client % 2 else np.uint64
        index = np.array([2**60 + 1, 3], kind)
        return content({"w": arrays["w"] + 1, "step": np.array(2**60 + 1, kind), "index": index}, 10)

    found = values(run(Defended("fedavg"), start, reply).arrays)
    assert int(found["step"]) == int(found["index"][0]) == 2**60 + 1
    assert found["step"].dtype == np.uint64


def test_layers_that_are_frozen_at_most_clients_are_not_tied() -> None:
    start = {"n1": np.ones(4, np.float32), "n2": np.ones(4, np.float32), "w": np.zeros(3, np.float32)}
    for trained in ("n1", "n2"):

        def reply(arrays: dict[str, Values], client: int, round: int, key: str = trained) -> RecordDict:
            moved = {key: arrays[key] + 1} if client < 2 else {}
            return content({**arrays, "w": arrays["w"] + np.float32(client), **moved})

        ours, theirs = (values(run(strategy, start, reply).arrays) for strategy in (Defended("fedavg"), FedAvg()))
        for key, expected in theirs.items():
            np.testing.assert_allclose(ours[key], expected, atol=1e-6)


@pytest.mark.parametrize(("buffers", "bounded"), [("mean", False), ("median", True)])
def test_statistics_may_be_merged_by_their_median(buffers: str, bounded: bool) -> None:
    start = {"w": np.zeros(3, np.float32), "bn.running_mean": np.zeros(2, np.float32)}
    lying = with_changes(2, **{"bn.running_mean": np.full(2, 1e6, np.float32)})
    found = values(run(Defended("median", settings={"federation.buffers": buffers}), start, lying).arrays)
    assert bool(np.abs(found["bn.running_mean"]).max() < 1) == bounded


@pytest.mark.parametrize(("most", "told"), [(0, "over 1000 times"), (100, "at most 100")])
def test_one_client_does_not_own_what_clients_measure(most: float, told: str) -> None:
    app = app_of(honest, lambda client: content({}, 9e15 if client == 2 else 10, accuracy=0.0 if client == 2 else 0.9))
    strategy = Defended("median", max_examples=most)
    result = run(strategy, {"w": np.zeros(3, np.float32)}, app=app)
    assert result.evaluate_metrics_clientapp is not None
    assert result.evaluate_metrics_clientapp[1]["accuracy"] == pytest.approx(0.9)
    assert told in strategy.outcome.evaluations_dropped[2]


def test_a_key_that_looks_like_a_list_is_none() -> None:
    def measured(client: int) -> RecordDict:
        own: dict[str, Any] = {"x (list of 2)": 1.0} if client == 2 else {"x": [1.0, 1.0]}
        return RecordDict({"metrics": MetricRecord({"num-examples": 10, **own})})

    strategy = Defended("median")
    result = run(strategy, {"w": np.zeros(3, np.float32)}, app=app_of(honest, measured))
    assert result.evaluate_metrics_clientapp is not None
    assert result.evaluate_metrics_clientapp[1]["x"] == pytest.approx([1.0, 1.0])
    assert strategy.outcome.evaluations_dropped == {
        2: "its metrics have 'x (list of 2)' that no majority sends and no 'x' (list of 2)"
    }


def test_metrics_that_are_all_not_finite_are_aggregated_as_flower_does() -> None:
    app = app_of(honest, lambda client: content({}, 10, loss=float("nan")))
    result = run(Defended("median"), {"w": np.zeros(3, np.float32)}, app=app)
    assert result.evaluate_metrics_clientapp is not None
    assert np.isnan(result.evaluate_metrics_clientapp[1]["loss"])


def test_a_reply_that_cant_be_decoded_is_dropped_with_its_cause() -> None:
    class Undecodable(LocalGrid):
        def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
            found = list(super().pull_messages(message_ids))
            for message in found:
                if message.metadata.src_node_id == 3:
                    self._replies[message.metadata.reply_to_message_id] = message
                    raise ValueError("no such chunk")
            return found

    strategy = Defended("median", fraction_evaluate=0.0, settings={"federation.poll_s": 0.1})
    strategy.start(Undecodable(app_of(honest), 4, {}), record({"w": np.zeros(3, np.float32)}), 1, timeout=20)
    assert strategy.outcome.dropped == {1: "could not be fetched: ValueError: no such chunk"}


def test_a_replys_arrays_are_let_go_whether_it_is_accepted_or_dropped() -> None:
    seen: list[Message] = []

    class Keeping(LocalGrid):
        def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
            found = list(super().pull_messages(message_ids))
            seen.extend(found)
            return found

    def reply(arrays: dict[str, Values], client: int, round: int) -> RecordDict:
        return content(values(honest(arrays, client, round)["arrays"]), 10**9 if client == 1 else 10)  # type: ignore[arg-type]

    strategy = Defended("krum", fraction_evaluate=0.0)
    strategy.start(Keeping(app_of(reply), 5, {}), record({"w": np.zeros(3, np.float32)}), 1)
    assert strategy.outcome.dropped.keys() == {1}
    assert len(seen) == 5
    assert not any(isinstance(one, ArrayRecord) for message in seen for one in message.content.values())
