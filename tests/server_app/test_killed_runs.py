"""kill -9 at any moment: the resumed run ends as if nothing had happened.

``FEDCRUCIBLE_KILLS=20 python -m pytest tests/server_app/test_killed_runs.py`` tries 20 moments of each kind of run.
A second test kills at points of the run instead: in the midst of a write, between two files, while a client trains.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from fedcrucible.engines.in_process import run_in_process
from fedcrucible.engines.local_grid import LocalGrid
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


POINTS = 10


@pytest.mark.skipif(sys.platform != "linux", reason="needs processes that inherit imported libraries")
def test_a_server_killed_at_any_point_resumes_to_the_same_end(
    runs_folder: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    """One seeded point in each tenth of all the points that a run passes; half of the writes are torn by it."""
    settings = TINY | {"model.name": "logistic", "run.checkpoint_every": 1, "run.rounds": 4}
    with monkeypatch.context() as patch:
        passed: list[str] = []
        _at_points(patch, passed.append)
        whole = outcome(play(settings | {"output.name": "whole"}))
    rng, share = random.Random("power cut"), len(passed) / POINTS
    chosen = [int(share * (tenth + rng.random())) for tenth in range(POINTS)]
    for point in chosen:
        again = settings | {"output.name": f"cut-{point}", "run.resume": True}
        process = multiprocessing.get_context("fork").Process(target=_die_at, args=(again, point))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL, (point, passed[point])
        folder = play(again)
        assert outcome(folder) == whole, (point, passed[point])
        assert verify(folder).problems == (), (point, passed[point])
    died = [passed[point] for point in chosen]
    record_property("points", f"{len(passed)} points, killed at {dict(zip(chosen, died, strict=True))}")
    assert {name.split()[0] for name in died} >= {"training", "writing", "renaming"}, died


def _at_points(patch: pytest.MonkeyPatch, at: Callable[[str], None]) -> None:
    """Tell ``at`` the name of every point that a run passes, before it happens."""
    sync, rename, answer = os.fsync, Path.replace, LocalGrid._answer

    def writing(handle: int) -> None:
        at(f"writing {Path(f'/proc/self/fd/{handle}').readlink().name} {handle}")
        sync(handle)

    def renaming(path: Path, target: Path) -> Path:
        at(f"renaming to {Path(target).name}")
        return rename(path, target)

    def training(grid: LocalGrid, message: Any) -> Any:
        at(f"training by node {message.metadata.dst_node_id}")
        return answer(grid, message)

    patch.setattr(os, "fsync", writing)
    patch.setattr(Path, "replace", renaming)
    patch.setattr(LocalGrid, "_answer", training)


def _die_at(settings: dict[str, Scalar], point: int) -> None:
    """Run until the point of this number, and die there; of what is being written the last ten bytes are lost."""
    passed = 0

    def die(name: str) -> None:
        nonlocal passed
        if passed == point:
            if name.startswith("writing") and Path(f"/proc/self/fd/{name.split()[-1]}").is_file():
                handle = int(name.split()[-1])
                os.ftruncate(handle, max(0, os.fstat(handle).st_size - 10))
            os.kill(os.getpid(), signal.SIGKILL)
        passed += 1

    with pytest.MonkeyPatch.context() as patch:
        _at_points(patch, die)
        _quietly(settings)


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
