"""Flower's simulation against the in-process engine, and what it leaves behind: nothing."""

from __future__ import annotations

import pytest

from fedcrucible.engines.flower import guard
from fedcrucible.engines.flower.command import FlowerRunError
from fedcrucible.engines.flower.simulation import run_simulation
from fedcrucible.engines.flower.superlink import LocalSuperLink
from fedcrucible.engines.in_process import run_in_process
from fedcrucible_assets import assets_root
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import load
from fedcrucible_core.config.values import Scalar
from server_app.plan import Plan

pytestmark = pytest.mark.slow
Settings = dict[str, Scalar]
SHIPPED = all((assets_root() / name).is_dir() for name in ("clip-tiny-fashion", "flow-fashion"))
SYSTEMS = [  # others: tests/golden/test_golden_engines.py, and test_ray_cluster.py beside this
    pytest.param(
        {  # dropout, and words at random places
            "task.dataset": "wn4",
            "model.name": "distilbert-tiny",
            "model.distilbert-tiny.width": 16,
            "training.optimiser": "adamw",
            "training.lr": 0.01,
            "attack.name": "word",
            "federation.payload": "float16-delta-float16",
        },
        id="texts in float16",
    ),
    pytest.param(
        {"strategy": "clip-fed", "model.name": "cnn", "synthetic.per_class": 8},
        id="clip-fed",
        marks=pytest.mark.skipif(not SHIPPED, reason="the shipped guide or generator is not there"),
    ),
    pytest.param(
        {  # each client asks the guide about its own data, once, and keeps what it found in the node's state
            "client.sanitizer": "drop",
            "client.splitter": "guide-agreement",
            "poison.upstream": "1",
            "adversary.malicious_fraction": 0.0,
            "adversary.malicious_ids": "",
        },
        id="clients that sanitize",
        marks=pytest.mark.skipif(not SHIPPED, reason="the shipped guide or generator is not there"),
    ),
]


@pytest.mark.parametrize("changes", SYSTEMS)
def test_simulation_and_in_process_end_in_the_same_model(
    changes: Settings, settings: Settings, superlink: LocalSuperLink
) -> None:
    chosen, lines = {**settings, **changes}, list[str]()
    expected = run_in_process(Plan.make(load(chosen)))
    summary = run_simulation(chosen, superlink=superlink, on_line=lines.append)
    assert summary.parameters_sha256 == expected.parameters_sha256
    assert summary.asr_percent == expected.asr_percent
    told = [line for line in lines if not line.startswith("note: ")]
    assert [line.split("  ")[0] for line in told[:3]] == ["round 0/2", "round 1/2", "round 2/2"]
    assert lines[-1] == f"record: {summary.folder}"


def test_bad_settings_are_refused_before_flower_is_asked(settings: Settings) -> None:
    with pytest.raises(ConfigError, match=r"poison\.target_label = 77"):
        run_simulation({**settings, "poison.target_label": 77}, superlink=LocalSuperLink())


def test_bad_settings_through_flwr_run_fail_with_our_message(settings: Settings, superlink: LocalSuperLink) -> None:
    config, lines = load({**settings, "poison.target_label": 77}), list[str]()  # each value is fine by itself
    with pytest.raises(FlowerRunError) as caught:
        superlink.ready().run(config, lines.append, "num-supernodes=4 client-resources-num-cpus=1")
    assert "finished:failed" in str(caught.value)
    assert "poison.target_label = 77: fashion-mnist-slice has classes 0 to 9" in str(caught.value)
    assert [line for line in lines if line.startswith("error: poison.target_label = 77")] == lines


def test_no_process_is_left_behind(superlink: LocalSuperLink) -> None:
    superlink.ready()
    folder = superlink.processes.folder
    assert superlink.processes.alive()
    superlink.processes.stop()
    assert guard.marked(superlink.processes.mark) == []
    assert not folder.exists()
