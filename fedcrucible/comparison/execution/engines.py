"""What carries a cell: a worker process with the in-process engine, or ``flwr run``."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fedcrucible.comparison.plan.cell import IN_PROCESS
from fedcrucible.engines.batch import Finished, RoundNews, Watch, run_batch
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.plain_text import visible_lines
from fedcrucible_core.config.values import Scalar

BACKGROUND = 5
"""Niceness of workers beside Flower: they take the cores while it leaves them idle."""
_ROUND = re.compile(r"round (\d+)/(\d+)\b")


class Engine(Protocol):
    """Runs a list of configurations."""

    @property
    def workers(self) -> int:
        """Runs that go on at the same time."""

    def run(self, batch: Sequence[Mapping[str, Scalar]], watch: Watch) -> Iterator[Finished]:
        """Run all of them; results come as they end, a failure stops no other."""


@dataclass(frozen=True)
class InProcess:
    """``workers`` processes with one thread each; what they print goes to ``logs``."""

    workers: int
    logs: Path
    niceness: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    """Set from another thread, it ends all workers."""

    def run(self, batch: Sequence[Mapping[str, Scalar]], watch: Watch) -> Iterator[Finished]:
        """Run all of them."""
        return run_batch(batch, self.workers, self.niceness, watch, self.logs, self.stop)


@dataclass(frozen=True)
class ThroughFlower:
    """One ``flwr run`` after the other over one SuperLink of our own; a run's clients share the machine's cores."""

    workers: int = 1

    def run(self, batch: Sequence[Mapping[str, Scalar]], watch: Watch) -> Iterator[Finished]:
        """Run all of them."""
        from fedcrucible.engines.flower.simulation import run_simulation
        from fedcrucible.engines.flower.superlink import LocalSuperLink

        with LocalSuperLink() as superlink:
            for index, settings in enumerate(batch):
                start = time.perf_counter()
                watch.started(index)
                summary, error = None, ""
                try:
                    summary = run_simulation(settings, superlink=superlink, on_line=_Lines(index, watch))
                except Exception as problem:
                    error = visible_lines(str(problem)) or type(problem).__name__
                yield Finished(index, settings, summary, error, time.perf_counter() - start)


@dataclass(frozen=True)
class _Lines:
    """Turns the ServerApp's lines into news."""

    index: int
    watch: Watch

    def __call__(self, line: str) -> None:
        found = _ROUND.match(line)
        if found:
            self.watch.news(self.index, RoundNews(int(found[1]), int(found[2]), line.strip()))


def engine(name: str, jobs: int, logs: Path, beside: bool = False) -> Engine:
    """The engine by name; ``beside`` says that another one carries runs at the same time.

    Raises ConfigError for several jobs through Flower.
    """
    if name == IN_PROCESS:
        return InProcess(max(1, jobs), logs, BACKGROUND if beside else 0)
    if jobs > 1 and not beside:
        raise ConfigError("--jobs", jobs, "1 with --engine flwr: the clients of one run use all cores")
    return ThroughFlower()
