"""Seconds and memory of one round in somebody's Flower app, beside Flower's own strategies.

    python -m studies.drop_in_scale --parameters 10000000 100000000
    python -m studies.drop_in_scale --parameters 100000000 --on-disk /var/tmp

Ten clients reply with float32 arrays around what they were sent, in a process of its own for each line.  Counted are
the seconds of ``aggregate_train`` alone, and the most memory that the server holds at a time (of its own, without files
that are mapped, which the system writes out when it needs the room), less what it held before the round.  A model is 4
bytes a parameter.  Replies come one by one, as over a network; Flower's strategies, and ours without ``--on-disk``,
hold all of them.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from threading import Event, Thread
from uuid import uuid4

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg, FedTrimmedAvg, Krum

from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible.flower import Defended
from fedcrucible.flower.patient_grid import PatientGrid

ARRAYS = 10
"""Arrays of the model, equally large."""
RULES = (
    "fedavg", "krum", "trimmed-mean", "median", "flame", "auror", "bulyan", "clip-cluster", "clip-fed-filter", "dp",
    "fedcpa", "feddmc", "fldetector", "foolsgold", "freqfed", "multi-krum", "norm-threshold", "rfa", "rfout", "rlr",
    "signguard", "weak-dp",
)  # fmt: skip
"""Of ours, those that need nothing beside the replies."""
PATIENCE_S = 600.0
"""So that no client works while another does: it is the server's memory that is counted."""
SHOWN = ("Flower", *(f'"{name}"' for name in RULES[:5]))
"""Parts of the names of rows where nobody chooses."""
STRATEGIES: dict[str, Callable[..., FedAvg]] = {
    "Flower's FedAvg": FedAvg,
    "Flower's Krum": partial(Krum, num_malicious_nodes=2),
    "Flower's FedTrimmedAvg": FedTrimmedAvg,
    **{f'Defended("{name}")': partial(Defended, name) for name in RULES},
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


class LazyGrid(LocalGrid):
    """Clients that work when they are asked for their replies, so that the grid holds one at most."""

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Keep the messages."""
        self._asked = {str(uuid4()): message for message in messages}
        for key, message in self._asked.items():
            message.metadata.__dict__["_message_id"] = key
        return list(self._asked)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Run the ClientApp of those whose replies are asked for."""
        return [self._answer(self._asked.pop(key)) for key in message_ids if key in self._asked]


class Watched:
    """The most memory of its own that this process holds meanwhile, in MB, by looking every few milliseconds."""

    def __enter__(self) -> Watched:
        self.begun = self.most = own_mb()
        self._stop = Event()
        self._thread = Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.005):
            self.most = max(self.most, own_mb())


def own_mb() -> float:
    """Resident memory that is no file's, in MB (10^6 bytes)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024e-6 for line in status.splitlines() if line.startswith("RssAnon"))


def measure(name: str, parameters: int, clients: int, on_disk: str | None) -> dict[str, float]:
    """One round in this process."""
    logging.getLogger("flwr").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    strategy = STRATEGIES[name](**({} if on_disk is None else {"on_disk": on_disk}))
    room = strategy.room if isinstance(strategy, Defended) else None
    grid = PatientGrid(LazyGrid(noisy_clients(), clients, {}), PATIENCE_S, room)
    length = parameters // ARRAYS
    arrays = ArrayRecord({f"layer{i}.weight": Array(np.zeros(length, np.float32)) for i in range(ARRAYS)})
    before = own_mb()
    replies = list(grid.send_and_receive(strategy.configure_train(1, arrays, ConfigRecord(), grid)))
    with Watched() as memory:
        wall, processor = time.perf_counter(), time.process_time()
        made, _ = strategy.aggregate_train(1, replies)
        found = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - processor}
    assert made is not None, "the strategy aggregated nothing"
    return {**found, "replies_mb": memory.begun - before, "most_mb": memory.most - before}


def main() -> None:
    """Print the table, or measure one line of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", type=int, nargs="+", default=[10_000_000])
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--only", nargs="+", default=SHOWN, help="strategies, by part of their names")
    parser.add_argument("--on-disk", help="folder of the updates of Defended; its rows alone")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.parameters[0], options.clients, options.on_disk)))
        return
    chosen = [
        name
        for name in STRATEGIES
        if (options.on_disk is None or name.startswith("Defended")) and any(part in name for part in options.only)
    ]
    columns = ("parameters", "strategy", "CPU s", "wall s", "GB (models) of replies", "GB (models) at most")
    print(f"| {' | '.join(columns)} |\n{'| --- ' * len(columns)}|")
    for parameters in options.parameters:
        for name in chosen:
            command = [sys.executable, "-m", "studies.drop_in_scale", "--one", name]
            command += ["--parameters", str(parameters), "--clients", str(options.clients)]
            command += ["--on-disk", options.on_disk] if options.on_disk else []
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(done.stderr)
            found, model = json.loads(done.stdout.splitlines()[-1]), 4e-6 * parameters
            memory = [f"{found[key] / 1e3:.2f} ({found[key] / model:.1f})" for key in ("replies_mb", "most_mb")]
            print(
                f"| {parameters:.0e} | {name} | {found['cpu_s']:.1f} | {found['wall_s']:.1f} | {' | '.join(memory)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
