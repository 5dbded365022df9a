"""``fedcrucible purify`` on 3,000 pictures, stopped by Ctrl-C or kill -9 in each of its stages, again and again.

Resumed to the end it leaves the same bytes, and what a stage had done before the stop isn't done again.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from fedcrucible.purifying import Request, plan_of, run
from fedcrucible_core.records import files
from fedcrucible_core.records.verification import verify
from studies.big_folder import write_pictures

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="needs processes that inherit imported libraries"),
]
PICTURES, BATCH, ROUNDS, MODELS = 3000, 100, 2, 2
A_ROUND = PICTURES // BATCH
STAGES = {"training": 0, "scoring": ROUNDS * A_ROUND, "unlearning": (ROUNDS + MODELS) * A_ROUND}
"""Stage -> steps of the whole run before it begins; pictures are embedded between training and scoring."""
KEPT = {"training": A_ROUND, "scoring": A_ROUND, "unlearning": 0}
"""Steps within a stage that a stop in its second part leaves done: a round, a model, and nothing of the unlearning."""
EMBEDDING = "the guide's embeddings"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many") / "pictures"
    write_pictures(folder, PICTURES)
    return folder


def request_of(pictures: Path, out: Path, *, resume: bool) -> Request:
    settings: dict[str, Any] = {
        "run.rounds": ROUNDS, "training.batch_size": BATCH, "training.lr": 0.01, "guide.cache_dir": f"{out}-cache",
        "guide.batch_size": 64,
        "splitter.cgd-entropy.models": MODELS, "splitter.cgd-entropy.epochs": 1,
        "splitter.cgd-entropy.batch_size": BATCH, "repair.cgd-unlearn.epochs": 1,
        "repair.cgd-unlearn.batch_size": BATCH, "repair.cgd-unlearn.tolerance": 100.0, "output.report": False,
        "run.resume": resume,
    }  # fmt: skip
    return Request(str(pictures), architecture="cnn", out=str(out), settings=settings)


class Steps:
    """Counts the steps of this process, and stops it at one of them, or while pictures are embedded."""

    def __init__(self, request: Request, at: int = -1, how: int = 0, *, embedding: bool = False) -> None:
        self.done, self.embedded, self.at, self.how, self.embedding = 0, 0, at, how, embedding
        self.plan = plan_of(request)
        self.plan.foundation.told = self.told

    def told(self, what: str, done: int, total: int) -> None:
        """Counts parts of pictures that were embedded or found."""
        if what == EMBEDDING:
            self.embedded += 1
            if self.embedding and self.embedded == 2:
                os.kill(os.getpid(), self.how)

    def run(self) -> Path:
        """All that is left to do."""
        real = torch.autograd.backward

        def counted(*given: Any, **more: Any) -> None:
            if self.done == self.at:
                os.kill(os.getpid(), self.how)
            self.done += 1
            real(*given, **more)

        torch.autograd.backward = counted  # type: ignore[assignment]
        try:
            return Path(run(self.plan).folder)
        finally:
            torch.autograd.backward = real


def outcome(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in (files.SPLIT, files.MODEL)}


@pytest.fixture(scope="module")
def whole(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], int]:
    """What an uninterrupted run leaves, and its steps."""
    steps = Steps(request_of(pictures, tmp_path_factory.mktemp("whole") / "out", resume=False))
    return outcome(steps.run()), steps.done


def die(request: Request, at: int, how: int, embedding: bool) -> None:
    """In a process of its own: run until the stop."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        Steps(request, at, how, embedding=embedding).run()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_stopped_in_every_stage_it_ends_as_if_nothing_had_happened(
    how: signal.Signals, pictures: Path, whole: tuple[dict[str, bytes], int], tmp_path: Path
) -> None:
    left, total = whole
    assert total > STAGES["unlearning"] + 5, "the stages are where this test thinks they are"
    skipped, resume = 0, False
    for stage in ("training", "embedding", "scoring", "unlearning"):
        embedding = stage == "embedding"
        at = -1 if embedding else STAGES[stage] - skipped + KEPT[stage] + 5
        request = request_of(pictures, tmp_path / "out", resume=resume)
        process = multiprocessing.get_context("fork").Process(target=die, args=(request, at, int(how), embedding))
        process.start()
        process.join()
        assert process.exitcode == (-how if how == signal.SIGKILL else 1), stage
        assert not (tmp_path / "out" / files.SUMMARY).exists(), stage
        skipped = ROUNDS * A_ROUND if embedding else STAGES[stage] + KEPT[stage]
        resume = True
    steps = Steps(request_of(pictures, tmp_path / "out", resume=True))
    folder = steps.run()
    assert steps.done == total - STAGES["unlearning"], "neither trained again nor scored by models anew"
    assert outcome(folder) == left
    assert verify(folder).problems == ()
