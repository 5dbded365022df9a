"""``Defended("fedavg")`` is Flower's FedAvg; what it does otherwise is what stock aggregation does wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord, MetricRecord
from flwr.serverapp.strategy import FedAvg
from torch import nn

from fedcrucible.flower import Defended
from tests.support.own_app import app_of, content, honest, record, run, values


def quickstart_net() -> nn.Module:
    """The network of Flower's PyTorch quickstart, by shape."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(16 * 5 * 5, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def test_the_quickstart_model_ends_where_flowers_own_fedavg_ends() -> None:
    arrays = ArrayRecord(quickstart_net().state_dict())
    theirs = run(FedAvg(), arrays, rounds=3)
    ours = run(Defended("fedavg"), arrays, rounds=3)
    assert list(ours.arrays) == list(theirs.arrays)
    for key, found in values(ours.arrays).items():
        np.testing.assert_allclose(found, theirs.arrays[key].numpy(), rtol=0, atol=1e-6)
        assert found.dtype == np.float32
    for own, expected in (  # Flower samples in another order each time, which moves the last bits of its sums
        (ours.train_metrics_clientapp, theirs.train_metrics_clientapp),
        (ours.evaluate_metrics_clientapp, theirs.evaluate_metrics_clientapp),
    ):
        assert own.keys() == expected.keys()
        assert all(own[number] == pytest.approx(dict(expected[number])) for number in own)


def test_the_evaluate_path_is_flowers() -> None:
    measured = []

    def central(round: int, arrays: ArrayRecord) -> MetricRecord:
        measured.append(round)
        return MetricRecord({"accuracy": 0.5})

    def metrics(records: list, key: str) -> MetricRecord:  # type: ignore[type-arg]
        return MetricRecord({"seen": len(records)})

    app = app_of(honest, lambda client: content({}, 3 + client, acc=client / 10))
    for strategy in (FedAvg(evaluate_metrics_aggr_fn=metrics), Defended("median", evaluate_metrics_aggr_fn=metrics)):
        result = run(strategy, {"w": np.zeros(3, np.float32)}, app=app, rounds=2, evaluate_fn=central)
        assert result.evaluate_metrics_clientapp == {1: {"seen": 5}, 2: {"seen": 5}}
        assert result.evaluate_metrics_serverapp.keys() == {0, 1, 2}
    assert measured == [0, 1, 2, 0, 1, 2]
    stock, ours = (run(s, {"w": np.zeros(3, np.float32)}, app=app) for s in (FedAvg(), Defended("krum")))
    assert ours.evaluate_metrics_clientapp[1]["acc"] == pytest.approx(stock.evaluate_metrics_clientapp[1]["acc"])


def test_initial_arrays_may_come_in_another_order_than_replies() -> None:
    def backwards(arrays, client, round):  # type: ignore[no-untyped-def]
        made = values(honest(arrays, client, round)["arrays"])  # type: ignore[arg-type]
        return content(dict(reversed(made.items())), 10 + client)

    arrays = {"b": np.ones(2, np.float32), "a": np.zeros((2, 3), np.float32)}
    found = run(Defended("fedavg"), arrays, backwards, rounds=2)
    assert list(found.arrays) == ["b", "a"]
    plain = run(Defended("fedavg"), arrays, rounds=2)
    for key in arrays:
        np.testing.assert_array_equal(found.arrays[key].numpy(), plain.arrays[key].numpy())


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("krum", {"f": 1}), ("trimmed-mean", {}), ("flame", {"noise": 0.0}), ("median", {}), ("multi-krum", {"f": 1})],
)
def test_one_giant_moves_the_mean_and_no_defence(name: str, parameters: dict[str, float]) -> None:
    def reply(arrays, client, round):  # type: ignore[no-untyped-def]
        made = honest(arrays, client, round)
        return content({"w": np.full(50, 1e6, np.float32)}, 10, train_loss=1.0) if client == 2 else made

    start = {"w": np.zeros(50, np.float32)}
    assert np.abs(run(Defended("fedavg"), start, reply).arrays["w"].numpy()).max() > 1e4
    assert np.abs(run(Defended(name, **parameters), start, reply).arrays["w"].numpy()).max() < 0.1


def test_record_keys_and_weights_are_named_by_flowers_own_arguments() -> None:
    def reply(arrays, client, round):  # type: ignore[no-untyped-def]
        made = content({"w": arrays["w"] + client}, 10)
        made["metrics"] = MetricRecord({"batches": 1 if client else 3, "loss": 1.0})
        return made

    strategy = Defended("fedavg", weighted_by_key="batches", arrayrecord_key="model")
    found = run(strategy, {"w": np.zeros(1, np.float64)}, reply, clients=3)
    np.testing.assert_allclose(found.arrays["w"].numpy(), [(0 * 3 + 1 + 2) / 5])


def test_rounds_by_hand_need_no_start() -> None:
    from flwr.app import ConfigRecord

    from fedcrucible.engines.local_grid import LocalGrid

    strategy, grid = Defended("median"), LocalGrid(app_of(honest), 4, {})
    arrays = record({"w": np.zeros(3, np.float32)})
    for number in (1, 2):
        replies = grid.send_and_receive(strategy.configure_train(number, arrays, ConfigRecord(), grid))
        found, metrics = strategy.aggregate_train(number, replies)
        assert found is not None
        assert metrics == {"train_loss": 1.0}
        arrays = found
    assert np.abs(arrays["w"].numpy()).max() > 0
