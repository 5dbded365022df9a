"""Seconds and memory of one aggregation in somebody's Flower app, beside Flower's own strategies.

    python -m studies.drop_in_scale --parameters 10000000 100000000

Ten clients reply with float32 arrays around what they were sent.  Counted is ``aggregate_train`` alone, from replies
that lie in memory, in a process of its own for each line.  ``peak`` is the largest resident memory meanwhile, and
``rise`` how far that is above what it was before (the replies, and what was sent), both also in models of 4 bytes a
parameter.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg, FedTrimmedAvg, Krum

from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible.flower import Defended
from studies.scale import forget_peak, peak_mb

ARRAYS = 10
"""Arrays of the model, equally large."""
STRATEGIES: dict[str, Callable[[], FedAvg]] = {
    "Flower's FedAvg": FedAvg,
    "Flower's Krum": partial(Krum, num_malicious_nodes=2),
    "Flower's FedTrimmedAvg": FedTrimmedAvg,
    **{f'Defended("{name}")': partial(Defended, name) for name in ("fedavg", "krum", "trimmed-mean", "flame")},
}


def noisy_clients() -> ClientApp:
    """Clients whose updates are uniform noise, another for each."""
    app = ClientApp()

    @app.train()
    def train(msg: Message, context: Context) -> Message:
        rng = np.random.default_rng(context.node_id)
        sent: ArrayRecord = msg.content["arrays"]  # type: ignore[assignment]
        noisy = {key: Array(array.numpy() + rng.random(array.shape, np.float32)) for key, array in sent.items()}
        content = RecordDict({"arrays": ArrayRecord(noisy), "metrics": MetricRecord({"num-examples": 100})})
        return Message(content, reply_to=msg)

    return app


def measure(name: str, parameters: int, clients: int) -> dict[str, float]:
    """One aggregation in this process."""
    logging.getLogger("flwr").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    strategy, grid = STRATEGIES[name](), LocalGrid(noisy_clients(), clients, {})
    length = parameters // ARRAYS
    arrays = ArrayRecord({f"layer{i}.weight": Array(np.zeros(length, np.float32)) for i in range(ARRAYS)})
    replies = list(grid.send_and_receive(strategy.configure_train(1, arrays, ConfigRecord(), grid)))
    before, wall, processor = forget_peak(), time.perf_counter(), time.process_time()
    made, _ = strategy.aggregate_train(1, replies)
    found = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - processor, "peak_mb": peak_mb()}
    assert made is not None, "the strategy aggregated nothing"
    return {**found, "before_mb": before}


def main() -> None:
    """Print the table, or measure one line of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", type=int, nargs="+", default=[10_000_000])
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--only", nargs="+", default=list(STRATEGIES), help="strategies")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.parameters[0], options.clients)))
        return
    print("| parameters | strategy | CPU s | wall s | peak GB (models) | rise GB (models) |\n" + "| --- " * 6 + "|")
    for parameters in options.parameters:
        for name in options.only:
            command = [sys.executable, "-m", "studies.drop_in_scale", "--one", name]
            command += ["--parameters", str(parameters), "--clients", str(options.clients)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(done.stderr)
            found, model = json.loads(done.stdout.splitlines()[-1]), 4e-6 * parameters
            peak, rise = found["peak_mb"], found["peak_mb"] - found["before_mb"]
            print(
                f"| {parameters:.0e} | {name} | {found['cpu_s']:.1f} | {found['wall_s']:.1f} | "
                f"{peak / 1e3:.2f} ({peak / model:.1f}) | {rise / 1e3:.2f} ({rise / model:.1f}) |",
                flush=True,
            )


if __name__ == "__main__":
    main()
