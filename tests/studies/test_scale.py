"""What a client that takes no part costs the server: a few bytes, in whatever list it may stand."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from fedcrucible.engines.in_process import run_in_process
from fedcrucible_core.config.load import load
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.learning.datasets import load_task
from server_app.plan import Plan
from studies import scale

FEW, MANY = 1_000, 6_000
"""Clients of a run, of which ten take part in a round."""
HELD, PEAK = 40.0, 110.0
"""Bytes per unsampled client; measured: 25 and 74, and 231 and 1984 with a few objects for each."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures for as many clients as the larger run has; both runs hold all of them."""
    place = tmp_path_factory.mktemp("scale")
    scale.write_pictures(place, MANY)
    return place


def traced(chosen: dict[str, Scalar]) -> tuple[int, int]:
    """Bytes that are held after a run, caches included, and the most during it."""
    config = load(chosen)
    load_task(config.task)
    tracemalloc.start()
    try:
        plan = Plan.make(config)
        run_in_process(plan)
        return tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()


def test_a_client_that_takes_no_part_costs_a_few_bytes(folder: Path) -> None:
    traced(scale.settings(folder, 20, 10))  # what is imported at the first run is no client's
    (held, peak), (held_of_many, peak_of_many) = (
        traced(scale.settings(folder, clients, 10)) for clients in (FEW, MANY)
    )
    assert (held_of_many - held) / (MANY - FEW) < HELD
    assert (peak_of_many - peak) / (MANY - FEW) < PEAK


def test_the_benchmark_prints_a_line_for_each_combination(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def here(folder: Path, clients: int, sampled: int, rule: str, model: str) -> scale.Cost:
        return scale.measure(scale.settings(folder, clients, sampled, rule, model))

    monkeypatch.setattr(scale, "measured", here)  # else in a process of its own
    scale.table([20], [], ["fedavg"])
    head, line = capsys.readouterr().out.splitlines()
    assert line.split()[:3] == ["20", "10", "fedavg"]
    assert len(line.split()) == 10
    assert head.split()[0] == "clients"
