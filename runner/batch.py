"""Many runs on worker processes, one thread each; results come as they end."""

from __future__ import annotations

import multiprocessing
import os
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass

from config.load import Scalar
from server_app.record.schema import RunSummary


@dataclass(frozen=True)
class Finished:
    """One run of a batch: its place in the list, its settings, and its summary or the cause of its failure."""

    index: int
    settings: Mapping[str, Scalar]
    summary: RunSummary | None
    error: str
    seconds: float


def run_settings(settings: Mapping[str, Scalar]) -> RunSummary:
    """Run one configuration in this process with the in-process engine."""
    from config.load import load
    from runner.engine import run_in_process
    from server_app.plan import Plan

    return run_in_process(Plan.make(load(settings)))


def run_batch(batch: Sequence[Mapping[str, Scalar]], jobs: int, niceness: int = 0) -> Iterator[Finished]:
    """Run all settings, ``jobs`` at a time; a failed run is reported and stops no other.

    ``niceness`` above 0 gives the workers a lower priority than other processes.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("spawn")
    workers = max(1, min(jobs, len(batch)))
    with ProcessPoolExecutor(workers, context, initializer=os.nice, initargs=(niceness,)) as pool:
        futures = [pool.submit(_guarded, index, dict(settings)) for index, settings in enumerate(batch)]
        for future in as_completed(futures):
            yield future.result()


def _guarded(index: int, settings: dict[str, Scalar]) -> Finished:
    start = time.perf_counter()
    try:
        summary, error = run_settings(settings), ""
    except Exception as problem:
        summary, error = None, f"{problem}\n{traceback.format_exc()}"
    return Finished(index, settings, summary, error, time.perf_counter() - start)
