"""What starts fast imports no more than it needs: every promise of the house, checked in one child process."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from fedcrucible_core.config.extras import EXTRAS
from fedcrucible_core.rooms import ROOT

LIBRARIES = {
    "torchvision",
    "transformers",
    "sklearn",
    "scipy",
    "pandas",
    "matplotlib",
    "hdbscan",
    "ray",
    "torch._dynamo",
}
TORCH = "import torch"
FLOWER = "import flwr.clientapp, flwr.serverapp, torch"
RUN = """
from fedcrucible.cli import app
app(["run", "--preset", "smoke", "strategy=fedavg", "output.report=false", "run.rounds=1", "--quiet", "--json",
     "output.dir={folder}", "output.name=record"])
"""
REPORT = """
from pathlib import Path
from fedcrucible_core.reports import render_report
render_report(Path("{folder}/record"))
"""
CACHED = """
import torch
from pathlib import Path
from fedcrucible_core.foundation.guide import load_guide
x = torch.rand(10, 1, 28, 28, generator=torch.Generator().manual_seed(0))
load_guide("tiny", cache_dir=Path("{folder}")).targets(x, ("bag", "shirt"))
"""
TRAINING = """
import torch
from torch import nn
from fedcrucible_core.config.sections import TrainingSection
from fedcrucible_core.learning.training import train
for kind in ("sgd", "adam", "adamw"):
    y = torch.zeros(8, dtype=torch.int64)
    train(nn.Linear(2, 2), torch.randn(8, 2), y, TrainingSection(optimiser=kind), torch.Generator())
"""


@dataclass(frozen=True)
class Promise:
    """After ``code``, none of ``forbidden`` has been imported; ``base`` may be, before it."""

    name: str
    code: str
    forbidden: frozenset[str]
    base: str = ""


def _promise(name: str, code: str, forbidden: set[str], base: str = "") -> Promise:
    return Promise(name, code, frozenset(forbidden), base)


QUICK = (
    _promise("the command line", "import fedcrucible.cli", {"torch", "flwr", "pydantic", "numpy", "PIL"}),
    _promise("a matrix page", "import fedcrucible_core.reports.pages.matrix", {"torch", "matplotlib.pyplot", "pandas"}),
    _promise("training", TRAINING, {"torch._dynamo"}, TORCH),
    _promise(
        "a client",
        "import client_app.app",
        (LIBRARIES | set(EXTRAS["server"]) | set(EXTRAS["datasets"]) | {"PIL", "fedcrucible", "server_app"})
        - {"httpx", "jinja2"},  # Flower and torch bring these
        FLOWER,
    ),
    _promise("a server", "import server_app.app", LIBRARIES | {"fedcrucible"}, FLOWER),
)
SLOW = (
    _promise("a run", RUN, LIBRARIES),
    _promise("a report", REPORT, {"torch", "matplotlib.pyplot"}),
    _promise("a guide's first answer", CACHED, set(), TORCH),
    _promise("a guide's cached answer", CACHED, {"transformers", "torchvision", "diffusers", "httpx"}, TORCH),
)
"""Seconds each: they do what they promise to do without imports."""
Answers = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """For every quick promise the modules that its code has imported, and what went wrong."""
    return _ask(QUICK, str(tmp_path_factory.mktemp("promises")))


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """The same for the slow ones."""
    return _ask(SLOW, str(tmp_path_factory.mktemp("promises")))


def _ask(promises: tuple[Promise, ...], folder: str) -> Answers:
    pieces = [
        {"name": promise.name, "code": promise.code.replace("{folder}", folder), "base": promise.base}
        for promise in promises
    ]
    command = [sys.executable, "-m", "tests.support.forked"]
    done = subprocess.run(command, input=json.dumps(pieces), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def _check(promise: Promise, answers: Answers) -> None:
    answer = answers[promise.name]
    assert not answer["error"], answer["error"]
    assert promise.forbidden.isdisjoint(answer["modules"]), sorted(promise.forbidden & set(answer["modules"]))


@pytest.mark.parametrize("promise", QUICK, ids=lambda promise: promise.name)
def test_it_imports_no_more_than_it_needs(promise: Promise, quick: Answers) -> None:
    _check(promise, quick)


@pytest.mark.slow
@pytest.mark.parametrize("promise", SLOW, ids=lambda promise: promise.name)
def test_it_does_no_more_than_it_needs(promise: Promise, slow: Answers) -> None:
    _check(promise, slow)


def test_what_is_imported_is_seen(quick: Answers) -> None:
    assert "typer" in quick["the command line"]["modules"]
    assert "matplotlib" in quick["a matrix page"]["modules"]


@pytest.mark.slow
def test_what_is_imported_on_the_way_is_seen(slow: Answers) -> None:
    assert "transformers" in slow["a guide's first answer"]["modules"]
    assert "matplotlib.figure" in slow["a report"]["modules"]
