"""kill -9 at any moment: the resumed run ends as if nothing had happened.

``FEDCRUCIBLE_KILLS=20 python -m pytest tests/server_app/test_killed_runs.py`` tries 20 moments of each kind of run.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from fedcrucible.engines.in_process import run_in_process
from fedcrucible_core.config.load import load
from fedcrucible_core.records import files
from fedcrucible_core.records.reader import read
from fedcrucible_core.records.verification import verify
from server_app.plan import Plan
from tests.support import tiny_runs
from tests.support.tiny_runs import Scalar

KILLS = int(os.environ.get("FEDCRUCIBLE_KILLS", "4"))
TINY: dict[str, Scalar] = {
    **tiny_runs.TINY,
    "run.rounds": 5,
    "run.checkpoint_every": 2,
    "training.batch_size": 16,
}
KINDS: dict[str, dict[str, Scalar]] = {
    "fedavg": {"strategy": "fedavg"},
    "foolsgold": {"strategy": "foolsgold"},
    "fldetector": {"strategy": "fldetector", "defense.fldetector.window": 2},
    "clip-fed": {"strategy": "clip-fed"},
    "lp": {"strategy": "fedavg", "attack.name": "lp", "attack.lp.refresh": 10},
}


def play(settings: dict[str, Scalar]) -> Path:
    return Path(run_in_process(Plan.make(load(settings))).folder)


def outcome(folder: Path) -> tuple[dict[str, bytes], list[dict[str, Any]], str]:
    """The model's tensors, the rounds without times, the digest in the summary."""
    record = read(folder)
    rounds = [r.model_dump(exclude={"seconds", "peak_memory_mb"}) for r in record.rounds]
    for row in rounds:
        row["per_client"].pop("client_seconds", None)
    model = {name: tensor.numpy().tobytes() for name, tensor in load_file(folder / files.MODEL).items()}
    return model, rounds, record.summary.parameters_sha256


@pytest.mark.skipif(sys.platform != "linux", reason="needs processes that inherit imported libraries")
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_resumes_to_the_same_end(kind: str, runs_folder: Path) -> None:
    settings = TINY | KINDS[kind]
    start = time.perf_counter()
    whole = outcome(play(settings | {"output.name": "whole"}))
    duration, moments = time.perf_counter() - start, random.Random(kind)
    for kill in range(KILLS):
        again = settings | {"output.name": f"cut-{kill}", "run.resume": True}
        for _ in range(2):  # the second time it is killed while it resumes
            _run_and_kill(again, moments.uniform(0.0, 1.1) * duration)
        folder = play(again)
        assert outcome(folder) == whole
        assert verify(folder).problems == ()


def _run_and_kill(settings: dict[str, Scalar], seconds: float) -> None:
    process = multiprocessing.get_context("fork").Process(target=_quietly, args=(settings,))
    process.start()
    process.join(seconds)
    if process.is_alive():
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
    process.join()


def _quietly(settings: dict[str, Scalar]) -> None:
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        play(settings)
