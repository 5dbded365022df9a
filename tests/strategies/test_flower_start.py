"""Flower's own loop, with Flower's own grid, ends in the same model as ours: its hooks are our loop's steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from client_app.app import app as client_app
from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible_core.config.load import flatten, load
from server_app.plan import Plan
from server_app.strategy_of import strategy_of
from strategies.exchange import in_simulation
from strategies.loop import Loop
from tests.support.flower_grid import flower_grid
from tests.support.tiny_runs import Scalar, settings

GRIDS: dict[str, Callable[..., Grid]] = {"local": LocalGrid, "flower": flower_grid}
SYSTEMS = ["fedavg", "flame", "fltrust", "clip-fed", "server-data-only", "central", "fm-fl"]


def made(grid: str = "local", **changes: Scalar) -> tuple[Loop, Grid]:
    some: dict[str, Scalar] = {"fm_fl__prototypes": "blocks", "fm_fl__pretrain_epochs": 1, "fm_fl__kd_epochs": 1}
    plan = Plan.make(load(settings(**({"defense__fltrust__root_samples": 20} | some | changes))))
    clients = GRIDS[grid](client_app, plan.config.federation.clients, flatten(plan.config))
    return strategy_of(plan, in_order=True), clients


def numbers(arrays: ArrayRecord | None) -> list[Any]:
    assert arrays is not None
    return [array.numpy() for _, array in sorted(arrays.items())]


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_both_loops_end_in_the_same_model(system: str, grid: str, runs_folder: Path) -> None:
    ours, clients = made(strategy=system)
    expected = numbers(ours.start(clients, ours.initial_arrays, 2).arrays)
    theirs, clients = made(grid, strategy=system)
    begun = numbers(theirs.initial_arrays)
    found = numbers(Strategy.start(theirs, clients, theirs.initial_arrays, num_rounds=2).arrays)
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    assert not np.array_equal(found[-1], begun[-1]), "it was trained at all"


def test_flowers_loop_gathers_what_the_hooks_return(runs_folder: Path) -> None:
    strategy, clients = made(federation__fraction_evaluate=1.0, partition__test_fraction=0.3)
    result = Strategy.start(strategy, clients, strategy.initial_arrays, num_rounds=2)
    assert {number: dict(m) for number, m in result.train_metrics_clientapp.items()} == {
        number: {"valid-replies": 5, "dropped-replies": 0} for number in (1, 2)
    }
    assert sorted(result.evaluate_metrics_clientapp) == [1, 2]
    assert result.evaluate_metrics_clientapp[2]["clients.measured"] == 5


def test_an_error_that_the_superlink_sends_counts_for_the_node_it_was_about(runs_folder: Path) -> None:
    strategy, clients = made()
    messages = list(strategy.configure_train(1, strategy.initial_arrays, ConfigRecord(), clients))
    replies = list(clients.send_and_receive(messages))
    replies[3].metadata.__dict__["_src_node_id"] = 1
    strategy.aggregate_train(1, replies)
    assert strategy.outcome.valid == [0, 1, 2, 3, 4]


def test_an_evaluate_function_is_asked_after_every_round(runs_folder: Path) -> None:
    strategy, clients = made()
    seen: list[int] = []

    def measured(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        seen.append(server_round)
        return MetricRecord({"arrays": len(arrays)})

    result = strategy.start(clients, strategy.initial_arrays, 2, evaluate_fn=measured)
    assert seen == [1, 2]
    assert result.evaluate_metrics_serverapp[2]["arrays"] == 2


def test_only_flowers_in_memory_grid_is_a_simulation() -> None:
    assert in_simulation(made("flower")[1])
    assert not in_simulation(made("local")[1])
