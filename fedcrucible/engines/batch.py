"""Many runs, each in a worker process of its own with one thread; results come as they end."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
import types
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path

from fedcrucible_core.config.plain_text import plain_text, visible_lines
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records.schema import RunSummary
from strategies.outcome import Checkpoint, RoundOutcome

PRELOADED = ["torch", "flwr.serverapp", "flwr.clientapp"]
"""Imported once and inherited by every worker. None of this project's own rooms: where the server process looks for
them is not where this one does."""
STOP_LIMIT_S = 5.0
LOOK_FOR_STOP_S = 0.3
LOG_TAIL = 15
_STARTING = threading.RLock()
LONGEST_CAUSE = 4000
"""Characters of the line that says why a run failed."""


@dataclass(frozen=True)
class Finished:
    """One run of a batch: its place in the list, its settings, and its summary or the cause of its failure."""

    index: int
    settings: Mapping[str, Scalar]
    summary: RunSummary | None
    error: str
    """Message, then the traceback where there is one; empty when the run succeeded."""
    seconds: float

    @property
    def cause(self) -> str:
        """The message without the traceback."""
        return plain_text(self.error.partition("\n")[0], LONGEST_CAUSE)


@dataclass(frozen=True)
class RoundNews:
    """How far a run has come."""

    round: int
    rounds: int
    text: str


class Watch:
    """Is told how a batch goes on; does nothing by itself."""

    def started(self, index: int) -> None:
        """A run has started."""

    def news(self, index: int, news: RoundNews) -> None:
        """A round of a run has ended."""


def run_settings(settings: Mapping[str, Scalar], connection: Connection | None = None) -> RunSummary:
    """Run one configuration in this process with the in-process engine; ``connection`` is told every round."""
    from fedcrucible.engines.in_process import run_in_process
    from fedcrucible_core.config.load import load
    from server_app.plan import Plan

    config = load(settings)
    observers = [] if connection is None else [_Reporter(connection, config.run.rounds)]
    return run_in_process(Plan.make(config), observers)


def run_batch(
    batch: Sequence[Mapping[str, Scalar]],
    jobs: int,
    niceness: int = 0,
    watch: Watch | None = None,
    logs: Path | None = None,
    stop: threading.Event | None = None,
) -> Iterator[Finished]:
    """Run all settings, ``jobs`` at a time; a run that fails, or whose process dies, stops no other.

    Every run has a fresh process, so that none pays for another's memory.  ``niceness`` above 0 gives the workers a
    lower priority than other processes.  With ``logs`` what workers print goes to files in that folder.  When the
    generator is closed or raises, all workers are ended first; so they are when another thread sets ``stop``.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context, waiting = _context(), deque(enumerate(batch))
    watch = watch or Watch()
    running: dict[Connection, _Worker] = {}
    try:
        while waiting or running:
            while waiting and len(running) < max(1, jobs):
                index, settings = waiting.popleft()
                worker = _Worker.start(context, index, dict(settings), niceness, logs)
                running[worker.connection] = worker
                watch.started(index)
            if stop is not None and stop.is_set():
                return
            for connection in wait(list(running), None if stop is None else LOOK_FOR_STOP_S):
                assert isinstance(connection, Connection)
                worker = running[connection]
                message = worker.message()
                if isinstance(message, RoundNews):
                    watch.news(worker.index, message)
                else:
                    del running[connection]
                    worker.end()
                    yield message
    finally:
        for worker in running.values():
            worker.process.terminate()
        for worker in running.values():
            worker.end()


@dataclass
class _Worker:
    """One process and the pipe through which it tells how it goes on."""

    index: int
    settings: Mapping[str, Scalar]
    process: BaseProcess
    connection: Connection
    log: Path | None
    since: float

    @classmethod
    def start(
        cls, context: BaseContext, index: int, settings: Mapping[str, Scalar], niceness: int, logs: Path | None
    ) -> _Worker:
        log = None if logs is None else logs / f"{settings.get('output.name') or index}.log"
        ours, theirs = context.Pipe()
        process = context.Process(  # type: ignore[attr-defined]
            target=_work, args=(theirs, settings, niceness, log), name=f"run-{index}", daemon=True
        )
        with without_script():
            process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        return cls(index, settings, process, ours, log, time.perf_counter())

    def message(self) -> RoundNews | Finished:
        """What the process says next; its silent death is a failure too."""
        try:
            said = self.connection.recv()
        except (EOFError, OSError):
            self.process.join(STOP_LIMIT_S)
            return self._finished(None, f"{_death(self.process.exitcode)}\n{_tail(self.log)}".rstrip())
        if isinstance(said, RoundNews):
            return said
        summary, error = said
        return self._finished(summary, error)

    def end(self) -> None:
        """Wait for the process, and end it where it doesn't."""
        self.process.join(STOP_LIMIT_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.connection.close()

    def _finished(self, summary: RunSummary | None, error: str) -> Finished:
        return Finished(self.index, self.settings, summary, error, time.perf_counter() - self.since)


class _Reporter:
    """Observer in the worker that tells its parent about every round."""

    def __init__(self, connection: Connection, rounds: int) -> None:
        self.connection = connection
        self.rounds = rounds

    def on_round(self, outcome: RoundOutcome) -> None:
        """Tell; where nobody listens any more the parent is gone, and so is the reason to go on."""
        from server_app.console import round_line

        try:
            self.connection.send(RoundNews(outcome.round, self.rounds, round_line(outcome, self.rounds)))
        except OSError:
            sys.exit(1)

    def on_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Nothing to tell."""

    def on_note(self, text: str) -> None:
        """Nothing to tell: the record holds it."""


def _work(connection: Connection, settings: dict[str, Scalar], niceness: int, log: Path | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    os.nice(niceness)
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
    answer: tuple[RunSummary | None, str]
    try:
        answer = run_settings(settings, connection), ""
    except Exception as problem:
        cause = plain_text(problem, LONGEST_CAUSE) or type(problem).__name__
        answer = None, f"{cause}\n{visible_lines(traceback.format_exc())}"
    with contextlib.suppress(OSError):
        connection.send(answer)


@contextlib.contextmanager
def without_script() -> Iterator[None]:
    """Keep a new process from running the user's script again, which would start this batch again in each worker.

    Workers import what they need by name; of the script that asked for them they need nothing.
    """
    with _STARTING:
        script = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = script


def _context() -> BaseContext:
    if sys.platform != "linux":  # elsewhere libraries don't survive a fork after their import
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def _death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        hint = " (often: the machine ran out of memory)" if name == "SIGKILL" else ""
        return f"the worker process was ended by {name}{hint}"
    return f"the worker process ended without a result, exit code {exit_code}"


def _tail(log: Path | None) -> str:
    if log is None or not log.is_file():
        return ""
    lines = log.read_bytes().decode("utf-8", errors="replace").removesuffix("\n").split("\n")
    return visible_lines("\n".join(lines[-LOG_TAIL:]))
