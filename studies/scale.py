"""What clients cost the server: time and memory by the clients of a round and by those of the whole run.

    python -m studies.scale [--clients 100000] [--sampled 100 1000 10000] [--rules fedavg median] [--model cnn]

Each line is one run of the in-process engine in a process of its own: one round, one invented picture per client.
``idle`` is the peak of a run that samples ten clients, so what all the others cost.  The logistic regression has 170
parameters on 4 x 4 pixels, so that bookkeeping is what is seen; ``cnn`` (28 x 28) shows what updates take.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fedcrucible_core.config.values import Scalar

FEW = 10
"""Clients of a round whose cost is not seen."""
TEST_PICTURES = 100
SIDES = {"logistic": 4, "cnn": 28}
"""Models and the side of their pictures, in pixels."""


@dataclass(frozen=True)
class Cost:
    """One run."""

    start_s: float
    """Seconds before the first round: data, partition, plan, what is known of the attack, the first measurement."""
    round_s: float
    """Seconds of the round, training included."""
    server_s: float
    """The same without what the clients themselves took."""
    peak_mb: float
    """Largest resident memory of the process, in MB (10^6 bytes)."""
    before_mb: float
    """The same before the clients were counted: imports and the pictures."""
    record_kb: float
    """The record's folder, in kB (10^3 bytes)."""


def write_pictures(folder: Path, clients: int, model: str = "logistic") -> None:
    """An NPZ file with a training picture for each client, and enough besides for the held-out ones."""
    rng, sizes = np.random.default_rng(0), {"train": max(1200, clients * 6 // 5), "test": TEST_PICTURES}
    side = SIDES[model]
    pictures = {split: rng.integers(0, 256, (count, side, side), dtype=np.uint8) for split, count in sizes.items()}
    labels = {split: np.arange(count) % 10 for split, count in sizes.items()}
    np.savez(
        folder / "set.npz",
        x_train=pictures["train"],
        y_train=labels["train"],
        x_test=pictures["test"],
        y_test=labels["test"],
    )


def settings(
    folder: Path, clients: int, sampled: int, rule: str = "fedavg", model: str = "logistic"
) -> dict[str, Scalar]:
    """A run of so many clients on the pictures in ``folder``."""
    return {
        "strategy": rule,
        "run.rounds": 1,
        "run.device": "cpu",
        "task.dataset": "npz",
        "task.data_dir": str(folder),
        "task.train_samples": 0,
        "task.test_samples": 0,
        "partition.name": "iid",
        "model.name": model,
        "federation.clients": clients,
        "federation.fraction_train": sampled / clients,
        "attack.name": "badnets",
        "output.dir": str(folder / "runs"),
        "output.report": False,
        "output.save_model": False,
    }


def measure(chosen: Mapping[str, Scalar]) -> Cost:
    """Run one configuration in this process."""
    from fedcrucible.engines.in_process import run_in_process
    from fedcrucible_core.config.load import load
    from fedcrucible_core.learning.datasets import load_task
    from fedcrucible_core.records import files
    from fedcrucible_core.records.reader import read_rounds
    from server_app.plan import Plan

    config = load(chosen)
    load_task(config.task)
    before, start = forget_peak(), time.perf_counter()
    summary = run_in_process(Plan.make(config))
    total, folder = time.perf_counter() - start, Path(summary.folder)
    rows = [row for row in read_rounds(folder / files.METRICS) if row.round > 0]
    rounds = sum(sum(row.seconds.values()) for row in rows)
    clients = sum(sum(row.per_client["client_seconds"]) for row in rows)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Cost(total - rounds, rounds, rounds - clients, peak_mb(), before, size / 1e3)


def peak_mb() -> float:
    """Largest resident memory of this process so far, in MB (10^6 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def forget_peak() -> float:
    """Let the peak begin anew, where the system can (Linux); returns what is resident now, in MB."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return peak_mb()


def measured(folder: Path, clients: int, sampled: int, rule: str, model: str) -> Cost:
    """The same in a process of its own, whose memory no other run has grown."""
    command = [sys.executable, "-m", "studies.scale", "--one", str(folder), str(clients), str(sampled), rule, model]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def table(totals: Sequence[int], sampled: Sequence[int], rules: Sequence[str], model: str = "logistic") -> None:
    """Print a line for each combination that there is."""
    print("clients  a round  rule       start s  round s  ms/client  server ms/client  idle MB  peak MB  record kB")
    for clients in totals:
        with tempfile.TemporaryDirectory(prefix="scale-") as name:
            folder = Path(name)
            write_pictures(folder, clients, model)
            idle = measured(folder, clients, FEW, "fedavg", model)
            for rule in rules:
                for count in [FEW, *sampled]:
                    if count <= clients:
                        few = count == FEW and rule == "fedavg"
                        cost = idle if few else measured(folder, clients, count, rule, model)
                        print(
                            f"{clients:7d}  {count:7d}  {rule:9s}  {cost.start_s:7.1f}  {cost.round_s:7.2f}  "
                            f"{1e3 * cost.round_s / count:9.2f}  {1e3 * cost.server_s / count:16.2f}  "
                            f"{idle.peak_mb - idle.before_mb:7.0f}  {cost.peak_mb - cost.before_mb:7.0f}  "
                            f"{cost.record_kb:9.0f}",
                            flush=True,
                        )


def main() -> None:
    """Print the table, or measure one run for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[100_000], help="clients of the whole run")
    parser.add_argument("--sampled", type=int, nargs="*", default=[100, 1000, 10_000], help="clients of a round")
    parser.add_argument("--rules", nargs="+", default=["fedavg"], help="strategies")
    parser.add_argument("--model", choices=SIDES, default="logistic")
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        folder, clients, sampled, rule, model = options.one
        print(json.dumps(asdict(measure(settings(Path(folder), int(clients), int(sampled), rule, model)))))
    else:
        table(options.clients, options.sampled, options.rules, options.model)


if __name__ == "__main__":
    main()
