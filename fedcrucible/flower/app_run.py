"""One run of a foreign app from start to end: what is recorded of it, and how it goes on in another process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from logging import INFO
from pathlib import Path

from flwr.app import ArrayRecord, MetricRecord
from flwr.common.logger import log
from flwr.serverapp.strategy import Result

from fedcrucible.flower.aggregator import Aggregator
from fedcrucible.flower.clients import Clients
from fedcrucible.flower.configured import Defence
from fedcrucible.flower.memory import Identity, Memory, remembered
from fedcrucible.flower.rates import rates_of
from fedcrucible.flower.record import RunFolder, folder_of, opened, row_of
from fedcrucible.flower.repairing import repaired
from fedcrucible.flower.run_description import description
from fedcrucible_core.config import ConfigError
from fedcrucible_core.records.schema import RoundRecord
from strategies.outcome import RoundOutcome
from strategies.timing import timed

EvaluateFunction = Callable[[int, ArrayRecord], MetricRecord | None]


@dataclass
class AppRun:
    """What is known of the run, and whether its rounds are those of the strategy's own ``start``."""

    defence: Defence
    aggregator: Aggregator
    record: str | Path | None
    resume: bool
    checkpoint_every: int
    malicious_key: str
    seed: int | None
    """As it was given; None = drawn."""
    on_round: Callable[[RoundRecord], None] | None
    clients: Clients = field(default_factory=Clients)
    outcome: RoundOutcome = field(default_factory=lambda: RoundOutcome(0))
    """The round that runs, or the last one."""
    online: int = 0
    done: int = 0
    """Rounds of the run that another process did."""
    running: bool = False
    _folder: RunFolder | None = None

    def __post_init__(self) -> None:
        if self.resume and self.record is None:
            raise ConfigError("resume", True, "needs record, the folder of the run that goes on")

    @contextlib.contextmanager
    def begun(self, initial: ArrayRecord, rounds: int) -> Iterator[ArrayRecord]:
        """A run of so many rounds, of which nothing of an earlier one is left; gives the arrays that it begins with.

        Raises ConfigError for arrays that no rule can judge, and for a record that can't be used.
        """
        self.aggregator.begin(rounds)
        self.aggregator.look_at(initial)
        self.clients, self.outcome = Clients(), RoundOutcome(0)
        optimiser = self.aggregator.optimiser
        identity, memory = Identity(self.defence.config, "" if optimiser is None else optimiser.description), None
        if self.record is not None and self.resume:
            memory = remembered(folder_of(self.record), identity, initial, rounds, self.seed)
        arrays = initial if memory is None else self._go_on(memory)
        self.done = 0 if memory is None else memory.round
        with contextlib.ExitStack() as stack:
            if self.record is not None:
                told = description(self.defence, self.aggregator.side, rounds, self.malicious_key)
                weights = None if memory is None else self.aggregator.weights(arrays)
                self._folder = stack.enter_context(
                    opened(self.defence, self.record, told, identity.digest, memory, weights, resume=self.resume)
                )
            self.running = True
            try:
                yield arrays
            finally:
                self._folder, self.done, self.running = None, 0, False

    def check_running(self) -> None:
        """Raise ConfigError where nobody would do what the user asks for, for rounds are not those of ``start``."""
        repair = self.defence.system.repair
        asked = {"record": self.record, "on_round": self.on_round, "repair.name": repair.name if repair else None}
        for key, value in asked.items():
            if value is not None and not self.running:
                allowed = "none where the rounds are not those of Defended.start, but of a wrapper's or by hand"
                raise ConfigError(key, value, allowed)

    def at_the_end_of_rounds(self, evaluate: EvaluateFunction | None) -> EvaluateFunction | None:
        """What Flower's loop calls then; None where there is nothing to do, for it logs what it is told."""
        if evaluate is None and self.record is None and self.on_round is None:
            return None
        return lambda number, arrays: self.measured(number, arrays, evaluate)

    def measured(self, number: int, arrays: ArrayRecord, evaluate: EvaluateFunction | None) -> MetricRecord | None:
        """The end of round ``number`` of this process: the app's own evaluation, then the record."""
        number += self.done
        begun = self.done and number == self.done  # measured and recorded before
        if number == 0:
            self.outcome = RoundOutcome(0, facts=dict(self.aggregator.facts))
        metrics = None
        if evaluate is not None:
            with timed(self.outcome, "evaluate"):
                metrics = evaluate(number, arrays)
            self.outcome.facts |= {f"app.{name}": rate for name, rate in rates_of(metrics or {}).items()}
        if not begun:
            self._finish(arrays)
        return metrics

    def ended(self, result: Result, rounds: int, evaluate: EvaluateFunction | None) -> Result:
        """The result after a repair, if any, with every round numbered as in the whole run."""
        if self.defence.system.repair is not None and rounds:
            self._repair(result, rounds + 1, evaluate)
        if self._folder is not None:
            self._folder.end(self.aggregator.weights(result.arrays))
        for found in (
            result.train_metrics_clientapp, result.evaluate_metrics_clientapp, result.evaluate_metrics_serverapp
        ):  # fmt: skip
            moved = {number + self.done: metrics for number, metrics in found.items()}
            found.clear()
            found.update(moved)
        return result

    def _go_on(self, memory: Memory) -> ArrayRecord:
        """Take over what an earlier process knew; returns its model."""
        self.clients = Clients(memory.clients)
        self.defence.reseed(memory.seed)
        self.aggregator.restore(memory)
        log(INFO, "the run goes on after round %d", memory.round)
        return memory.arrays

    def _repair(self, result: Result, number: int, evaluate: EvaluateFunction | None) -> None:
        """Repair the final model; recorded, and numbered, as one more round."""
        self.outcome = RoundOutcome(number, stage="repair")
        repair = self.defence.system.repair
        assert repair is not None
        self.outcome.model = self.aggregator.compared(None)
        result.arrays = repaired(self.aggregator.side, repair, result.arrays, self.outcome)
        metrics = self.measured(number - self.done, result.arrays, evaluate)
        if metrics is not None:
            result.evaluate_metrics_serverapp[number - self.done] = metrics

    def _finish(self, arrays: ArrayRecord) -> None:
        outcome, folder = self.outcome, self._folder
        outcome.nodes = {c: self.clients.identities[c] for c in outcome.participants if c in self.clients.identities}
        if folder is not None:
            outcome.population = {"model": self.aggregator.weights(arrays)}
            folder.round(outcome, self.online)
            outcome.population = {}
            trained = outcome.round > 0 and outcome.stage == "training"
            if self.checkpoint_every and trained and outcome.round % self.checkpoint_every == 0:
                folder.keep(self._memory(arrays))
        if self.on_round is not None:
            self.on_round(row_of(outcome, self.defence.config, bool(self.malicious_key)))

    def _memory(self, arrays: ArrayRecord) -> Memory:
        aggregator, defence = self.aggregator, self.defence
        initial = aggregator.initial if defence.rule.starts_over else None
        return Memory(
            self.outcome.round, arrays, aggregator.memory(), self.clients.known, defence.config.run.seed, initial
        )
