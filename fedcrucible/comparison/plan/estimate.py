"""How long a matrix takes: from runs that are over, or, before the first, from a few timed batches."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from fedcrucible.comparison.plan.cell import SEED, Cell
from fedcrucible.comparison.plan.matrix import SYSTEM
from fedcrucible_core.config.values import Scalar

TIMED_BATCHES = 3
SERVER_EPOCHS = 2
"""Passes over the server's images each round that a purifier is taken to cost: one for each phase of CLIP-Fed's."""


@dataclass(frozen=True)
class Running:
    """A run that goes on: seconds since its start, and the share (0..1) of its rounds that is done."""

    seconds: float
    share: float


class Estimate:
    """Learns how long cells take."""

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[str, Scalar], ...], list[float]] = {}

    def learn(self, cell: Cell, seconds: float) -> None:
        """A cell took so long."""
        for kind in _kinds(cell):
            self._known.setdefault(kind, []).append(seconds)

    def seconds(self, cell: Cell) -> float | None:
        """What a cell like this takes: the same but for its seed, else of the same system, else any; None at first."""
        return next((statistics.fmean(self._known[kind]) for kind in _kinds(cell) if kind in self._known), None)

    def left(self, waiting: Iterable[Cell], running: Mapping[Cell, Running], workers: int) -> float | None:
        """Seconds until everything is done; None while nothing is known."""
        guess = _projected(list(running.values()))
        total = longest = 0.0
        for cell, how in running.items():
            whole = self.seconds(cell) or guess
            if whole is None:
                return None
            rest = max(0.0, whole - how.seconds)
            total, longest = total + rest, max(longest, rest)
        for cell in waiting:
            whole = self.seconds(cell) or guess
            if whole is None:
                return None
            total, longest = total + whole, max(longest, whole)
        return max(total / max(1, workers), longest)


def _kinds(cell: Cell) -> list[tuple[tuple[str, Scalar], ...]]:
    labels = {name: value for name, value in cell.labels.items() if name != SEED}
    system = {name: value for name, value in labels.items() if name == SYSTEM}
    return [tuple(labels.items()), tuple(system.items()), ()]


def _projected(running: Sequence[Running]) -> float | None:
    """Mean length of the runs that go on, if they go on as they did."""
    found = [how.seconds / how.share for how in running if how.share > 0]
    return statistics.fmean(found) if found else None


class Timing:
    """Seconds of a cell by timing a few batches of its model on its data; server phases count two passes a round."""

    def __init__(self) -> None:
        self._speeds: dict[tuple[object, ...], tuple[float, float]] = {}

    def seconds(self, cell: Cell) -> float:
        """Estimated seconds of one cell; its settings must have been checked."""
        from server_app.checks import attackers
        from server_app.plan import Plan
        from strategies.sampling import participants_per_round

        plan = Plan.make(cell.config)
        config, system = plan.config, plan.system
        train, infer = self._speed(cell)
        seen = 0.0
        if system.rule is not None:
            share = participants_per_round(config.federation) / config.federation.clients
            copies = (
                1.0 + plan.adversary.uploader.needs_benign_model * len(attackers(config)) / config.federation.clients
            )
            seen += share * copies * len(plan.data.train) * config.training.local_epochs
        if system.purifier is not None:
            seen += SERVER_EPOCHS * 2 * config.synthetic.per_class * plan.data.info.num_classes
        measured = 2 * len(plan.data.measured(config.task.eval_split))  # clean, and with a trigger
        evaluations = config.run.rounds // config.run.eval_every + 1
        return config.run.rounds * seen * train + evaluations * measured * infer

    def _speed(self, cell: Cell) -> tuple[float, float]:
        """Seconds per image of training and of evaluation."""
        config = cell.config
        model = tuple(sorted((k, v) for k, v in cell.settings.items() if k.startswith("model.")))
        key = (model, config.task, config.training.batch_size, config.run.device, config.run.threads)
        if key not in self._speeds:
            self._speeds[key] = _time_batches(cell)
        return self._speeds[key]


def _time_batches(cell: Cell) -> tuple[float, float]:
    import torch

    from fedcrucible_core.learning.device import deterministic_threads
    from fedcrucible_core.learning.evaluation import logits
    from fedcrucible_core.learning.rng import torch_generator
    from fedcrucible_core.learning.training import train
    from server_app.plan import Plan

    plan = Plan.make(cell.config)
    with deterministic_threads(cell.config.run.threads):
        training, run, model = plan.config.training, plan.config.run, plan.model()
        batch = plan.data.train.subset(torch.arange(min(training.batch_size, len(plan.data.train))))
        inputs, labels = batch.for_model().to(plan.device), batch.labels.to(plan.device)
        settings = training.model_copy(update={"local_epochs": 1, "lr": 1e-6})
        rng = torch_generator(run.seed, "timing")

        def step() -> None:
            train(model, inputs, labels, settings, rng, precision=run.precision)

        def look() -> None:
            logits(model, inputs, len(labels), plan.device)

        times = _time(step, plan.device.type), _time(look, plan.device.type)
    return times[0] / len(labels), times[1] / len(labels)


def _time(work: Callable[[], None], device: str) -> float:
    """Median seconds of one call, after one that warms up."""
    import torch

    found = []
    for _ in range(1 + TIMED_BATCHES):
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - start)
    return statistics.median(found[1:])
