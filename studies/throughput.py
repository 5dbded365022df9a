"""Client training throughput of the in-process engine against a plain PyTorch loop, both in one run.

    python -m studies.throughput [--device auto] [--repeats 5]

The plain loop does what any tutorial does: one model, one optimiser, shuffled batches of the same tensors.  The engine
runs a whole federated round of the same number of images: messages, flat vectors, a model per client.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time

import torch
import torch.nn.functional as F

from fedcrucible.engines.in_process import run_in_process
from fedcrucible_core.config.load import load
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.learning.device import resolve_device
from fedcrucible_core.learning.models.base import MODELS
from server_app.plan import Plan
from strategies.outcome import Checkpoint, RoundOutcome


class TrainSeconds:
    """Observer that keeps the seconds of the training phase."""

    def __init__(self) -> None:
        self.rounds: list[float] = []

    def on_round(self, outcome: RoundOutcome) -> None:
        if outcome.round > 0:
            self.rounds.append(outcome.seconds["train"])

    def on_checkpoint(self, checkpoint: Checkpoint) -> None:
        pass

    def on_note(self, text: str) -> None:
        pass


def plain_loop(plan: Plan) -> float:
    """Seconds of one epoch over all training images."""
    config, device = plan.config, plan.device
    spec = MODELS.of(config)
    model = spec.build(plan.data.info, 1, channels_last=config.run.channels_last).to(device)
    images, labels = plan.data.train.for_model().to(device), plan.data.train.labels.to(device)
    optimiser = torch.optim.SGD(model.parameters(), lr=config.training.lr, momentum=config.training.momentum)
    size = config.training.batch_size
    model.train()
    start = time.perf_counter()
    order = torch.randperm(len(images)).to(device)
    for i in range(0, len(order), size):
        rows = order[i : i + size]
        optimiser.zero_grad()
        torch.autograd.backward(F.cross_entropy(model(images[rows]), labels[rows]))
        optimiser.step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    """Alternate the two and print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--model", default="resnet8")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="throughput-") as folder:
        compare(options, folder)


def compare(options: argparse.Namespace, folder: str) -> None:
    settings: dict[str, Scalar] = {
        "strategy": "fedavg",
        "run.device": options.device,
        "run.rounds": 1,
        "run.eval_every": 1,
        "task.train_samples": options.images,
        "task.test_samples": 100,
        "training.local_epochs": 1,
        "federation.clients": options.clients,
        "adversary.malicious_fraction": 0.0,
        "model.name": options.model,
        "output.dir": folder,
        "output.report": False,
        "output.save_model": False,
    }
    plan = Plan.make(load(settings))
    torch.set_num_threads(plan.config.run.threads)
    plain_loop(plan)
    run_in_process(plan, [TrainSeconds()])
    plain, engine = [], []
    for _ in range(options.repeats):
        plain.append(options.images / plain_loop(plan))
        seconds = TrainSeconds()
        run_in_process(plan, [seconds])
        engine.append(options.images / seconds.rounds[0])
    a, b = statistics.median(plain), statistics.median(engine)
    ratio = statistics.median(e / p for e, p in zip(engine, plain, strict=True))
    print(f"{options.model} on {resolve_device(options.device)}, batch {plan.config.training.batch_size}, one thread,")
    print(f"{options.clients} clients, {options.images} images, medians of {options.repeats} alternating repeats")
    print(f"plain PyTorch loop : {a:8.0f} images/s")
    print(f"in-process engine  : {b:8.0f} images/s")
    print(f"engine / plain     : {100 * ratio:8.1f} %")


if __name__ == "__main__":
    main()
