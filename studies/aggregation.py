"""Every registered rule against lower bounds and other libraries, one thread, in one run.

    python -m studies.aggregation                                   # all rules, all shapes: some minutes
    python -m studies.aggregation --rules krum median --shapes 100x1000000 --repeats 2

Bounds: the mean of the rows; one centred Gram matrix, in float64 over blocks of columns; numpy's partition of every
coordinate to its middle, over transposed blocks.  A rule and its bound are measured in turns, the least CPU time of
each counts (other work on the machine then matters little), and the checks that every round makes are included.  Peak
memory is that of a process of its own per rule: what its resident set grows by at most while one round and the next
are aggregated, in units of the matrix of updates, which itself counts as 1.

Rules are given the layout of a model and a root update, but no working model: one that can't do without is skipped and
says why, one that only loses a part (DeepSight's third view) is timed without it.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before any BLAS is loaded

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from defenses.base import RULES, AggregationRule, ClientUpdates, State
from defenses.updates import ServerView
from fedcrucible_core.learning.vector import Slot
from studies.bounds import gram_bound, mean_bound, partition_bound
from studies.rivals import rivals

SHAPES = ["20x1000000", "100x1000000", "20x11200000", "1000x100000"]
SORTING = ("median", "trimmed-mean")
"""Rules that are held to the bound of the partition."""
HELD_AT = "100x1000000"
"""Where the requirements below must hold."""
TIMES, PLUS_MS, MEMORY = 1.5, 50.0, 1.3
"""A rule may take 1.5 times its bound (Gram-based ones 50 ms more), and 1.3 times the memory of its input."""
RIVALS_UP_TO = 100_000_000
"""Numbers in the matrix beyond which other libraries are left out: some would take minutes."""


@dataclass
class Row:
    """What was measured of one rule at one shape; milliseconds of CPU."""

    rule: str
    shape: str
    ms: float = float("nan")
    mean_ms: float = float("nan")
    gram_ms: float = float("nan")
    partition_ms: float = float("nan")
    grams: int = 0
    """Gram matrices it needed."""
    memory: float = float("nan")
    """Peak memory in units of the matrix, the matrix included."""
    rivals: dict[str, float] = field(default_factory=dict)
    skipped: str = ""

    @property
    def limit_ms(self) -> float:
        """Most that the rule may take; NaN where nothing is required."""
        if self.shape != HELD_AT or not (self.grams or self.rule in SORTING):
            return float("nan")
        return TIMES * self.partition_ms if self.rule in SORTING else TIMES * self.gram_ms + PLUS_MS

    @property
    def verdict(self) -> str:
        """``ok``, or what is missed."""
        missed = []
        if self.ms > self.limit_ms:
            missed.append("time")
        if self.shape == HELD_AT and self.memory > MEMORY:
            missed.append("memory")
        missed += [f"slower than {name}" for name, ms in self.rivals.items() if ms < self.ms]
        return self.skipped or ", ".join(missed) or "ok"


def crowd(n: int, d: int) -> Tensor:
    """Updates around a common direction, the last fifth shifted; made in place."""
    g = torch.Generator().manual_seed(1)
    common = torch.randn(d, generator=g)
    rows = torch.empty(n, d).normal_(generator=g)
    for i, row in enumerate(rows):
        row.add_(common).mul_(0.001 * (1 + i % 3))
        if i >= n - n // 5:
            row.sub_(0.005)
    return rows


def layout(d: int) -> tuple[Slot, ...]:
    """A model of d parameters with convolutions and a classifier of ten classes."""
    shapes: list[tuple[str, tuple[int, ...]]] = []
    left, layer = d, 0
    classifier = [("classifier.weight", (10, 64)), ("classifier.bias", (10,))] if d > 2000 else []
    left -= sum(int(np.prod(shape)) for _, shape in classifier)
    while left >= 9 * 64 and layer < 12:
        channels = max(1, min(left // 2 if layer < 11 else left, 4_000_000) // (9 * 64))
        shapes.append((f"features.{layer}.weight", (channels, 64, 3, 3)))
        left, layer = left - channels * 9 * 64, layer + 1
    if left:
        shapes.append(("features.rest.bias", (left,)))
    slots, start = [], 0
    for name, shape in [*shapes, *classifier]:
        slots.append(Slot(name, start, torch.Size(shape), False))
        start = slots[-1].stop
    return tuple(slots)


class Task:
    """One rule on one matrix: a first round that builds its state, then rounds that use it."""

    def __init__(self, rule: AggregationRule, updates: Tensor) -> None:
        n, d = updates.shape
        self.rule, self.matrix = rule, updates
        self.w_t = torch.randn(d, generator=torch.Generator().manual_seed(2))
        root = updates[0].clone()
        self.view = ServerView(
            slots=layout(d), clients=n, sampled=n, rounds=100, assumed_malicious=n // 5, train_root=lambda _: root
        )
        self.state: State = {}
        self.round = 0
        self.grams = 0

    def step(self) -> None:
        """Aggregate one round, the checks of its input included."""
        self.round = min(2, self.round + 1)
        n = len(self.matrix)
        updates = ClientUpdates(
            self.w_t,
            self.matrix,
            torch.arange(10, 10 + n, dtype=torch.float64),
            range(n),
            self.round,
            torch.Generator().manual_seed(3),
            self.state,
            self.view,
        )
        result = self.rule.aggregate(updates)
        if self.round == 1:
            self.state = result.state
        self.grams = len({"inner", "centred_inner", "model_inner"} & set(updates.__dict__))


def cpu_ms(call: Callable[[], object]) -> float:
    """Milliseconds of CPU that one call takes."""
    start = time.process_time()
    call()
    return 1000.0 * (time.process_time() - start)


def measure(name: str, updates: Tensor, repeats: int, with_rivals: bool) -> Row:
    """Time one rule, its bounds and its rivals in turns."""
    n, d = updates.shape
    row = Row(name, f"{n}x{d}")
    try:
        task = prepared(name, updates)
    except Exception as error:  # a rule that needs a real model says so in its own words
        row.skipped = f"skipped: {error}"
        return row
    task.step()
    row.grams = task.grams
    calls: dict[str, Callable[[], object]] = {"ms": task.step, "mean_ms": lambda: mean_bound(updates)}
    if row.grams:
        calls["gram_ms"] = lambda: gram_bound(updates)
    if name in SORTING:
        calls["partition_ms"] = lambda: partition_bound(updates)
    for _ in range(repeats):
        for key, call in calls.items():
            setattr(row, key, np.fmin(getattr(row, key), cpu_ms(call)))
    if with_rivals and updates.numel() <= RIVALS_UP_TO:
        attackers = getattr(task.rule, "f", -1)
        for whose, call in rivals(name, updates, attackers if attackers >= 0 else n // 5):
            row.rivals[whose] = min(cpu_ms(call) for _ in range(min(2, repeats)))
    return row


def prepared(name: str, updates: Tensor) -> Task:
    """A rule that has run once on a small matrix, so that imports and first calls are over."""
    rule = RULES.create(name)
    small = Task(rule, crowd(len(updates), 3000))
    small.step()
    small.step()
    return Task(rule, updates)


def peak_memory(name: str, n: int, d: int) -> float:
    """Peak memory of two rounds in units of the matrix, measured in this process (use a fresh one)."""
    updates = crowd(n, d)
    task = prepared(name, updates)
    before = peak_bytes()
    task.step()
    task.step()
    return 1.0 + (peak_bytes() - before) / (updates.numel() * updates.element_size())


def peak_bytes() -> int:
    """Largest resident set of this process so far."""
    try:  # a child's ru_maxrss begins at its parent's on Linux, which would hide everything
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    except (OSError, IndexError):
        unit = 1 if sys.platform == "darwin" else 1024
        return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def memory_of(name: str, shape: str) -> float:
    """``peak_memory`` in a process of its own; NaN when that fails."""
    command = [sys.executable, "-m", "studies.aggregation", "--memory-of", name, "--shapes", shape]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(json.loads(done.stdout.splitlines()[-1])) if done.returncode == 0 else float("nan")


def table(rows: Sequence[Row]) -> pd.DataFrame:
    """One line per rule and shape, ready to read."""
    lines = []
    for row in rows:
        best = {
            who: min((ms for name, ms in row.rivals.items() if name.startswith(who)), default=float("nan"))
            for who in ("byzfl", "Flower")
        }
        lines.append(
            {
                "shape": row.shape,
                "rule": row.rule,
                "CPU ms": row.ms,
                "x mean": row.ms / row.mean_ms,
                "Gram ms": row.gram_ms,
                "x Gram": row.ms / row.gram_ms,
                "partition ms": row.partition_ms,
                "x partition": row.ms / row.partition_ms,
                "limit ms": row.limit_ms,
                "memory x U": row.memory,
                "byzfl ms": best["byzfl"],
                "byzfl / ours": best["byzfl"] / row.ms,
                "Flower ms": best["Flower"],
                "Flower / ours": best["Flower"] / row.ms,
                "verdict": row.verdict,
            }
        )
    return pd.DataFrame(lines)


def markdown(frame: pd.DataFrame) -> str:
    """The table as Markdown; empty cells where nothing was measured."""

    def shown(value: object, column: str) -> str:
        if not isinstance(value, float):
            return str(value)
        if np.isnan(value):
            return ""
        return f"{value:.0f}" if column.endswith("ms") else f"{value:.2f}"

    head = ["| " + " | ".join(frame.columns) + " |", "|" + " --- |" * len(frame.columns)]
    body = [
        "| " + " | ".join(shown(value, column) for column, value in zip(frame.columns, line, strict=True)) + " |"
        for line in frame.itertuples(index=False)
    ]
    return "\n".join([*head, *body])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write ``aggregation.md`` and ``aggregation.csv``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", nargs="+", default=list(RULES), help="default: every registered rule")
    parser.add_argument("--shapes", nargs="+", default=SHAPES, help="clients x parameters")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-memory", action="store_true", help="don't start a process per rule for its peak memory")
    parser.add_argument("--no-rivals", action="store_true", help="leave other libraries out")
    parser.add_argument("--out", type=Path, default=Path("runs/aggregation"))
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    shapes = [tuple(int(part) for part in shape.split("x")) for shape in options.shapes]
    if options.memory_of:
        print(json.dumps(peak_memory(options.memory_of, *shapes[0])))
        return
    rows: list[Row] = []
    for n, d in shapes:
        updates = crowd(n, d)
        for name in options.rules:
            row = measure(name, updates, options.repeats, not options.no_rivals)
            if not row.skipped and not options.no_memory:
                row.memory = memory_of(name, row.shape)
            rows.append(row)
            print(f"{row.shape:>12} {name:<16} {row.ms:9.1f} ms  memory {row.memory:5.2f}  {row.verdict}", flush=True)
        del updates
    frame = table(rows)
    text = (
        f"# Aggregation, one thread, CPU milliseconds (least of {options.repeats}), "
        f"numpy {np.__version__}, torch {torch.__version__}\n\n{markdown(frame)}\n"
    )
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "aggregation.md").write_text(text, encoding="utf-8")
    frame.to_csv(options.out / "aggregation.csv", index=False)
    print(f"\n{text}\nWritten to {options.out}")


if __name__ == "__main__":
    main()
