"""The common loop of all systems: train, purify, measure, record, keep; then repair."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from logging import INFO

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy

from defenses.sanitizing import SyntheticSet
from fedcrucible_core.learning.device import deterministic_threads
from strategies.checkpoints import Checkpoints
from strategies.client_metrics import ClientMetrics
from strategies.outcome import Measured, RoundOutcome
from strategies.parts import Parts
from strategies.population import (
    Population,
    Prototype,
    Standing,
    fact_name,
    first_of,
    population_arrays,
    population_in,
)
from strategies.purify_step import purified
from strategies.repair_step import RepairStage, begin_repair
from strategies.roster import Answers, Roster
from strategies.server_phase import ServerPhase
from strategies.timing import timed
from strategies.trainers import trainer_of


class Loop(Strategy):
    """A Flower strategy with its own loop, which no reply, however broken, can stop.

    A system says what a round is (``advance``).  Flower's hooks are that loop's own steps, so Flower's loop
    (``Strategy.start``) ends in the same model; it only measures nothing, keeps no
    checkpoints and repairs nothing.
    """

    phase: ServerPhase | None = None

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.config = parts.config
        self.roster = Roster(parts.nodes, parts.config, parts.malicious, parts.progress)
        self.standing = Standing.at_first(parts.initial())
        self.trainer = trainer_of(parts, self.roster, self.standing)
        self.clients = ClientMetrics(parts, self.roster)
        self.checkpoints = Checkpoints(parts, self.roster)
        self.outcome = RoundOutcome(0, progress=parts.progress)
        self._arrays: ArrayRecord | None = None
        self._asked: list[Message] = []
        self._measured: Measured | None = None
        self._ready = False
        self._given: Population | None = None
        """The population in the arrays that came last from outside."""

    @property
    def synthetic(self) -> SyntheticSet | None:
        """The synthetic data that the system used, for pages; None = it used none by itself."""
        return None

    @property
    def initial_arrays(self) -> ArrayRecord:
        """What ``start`` is to be given."""
        return population_arrays(self.parts.initial())

    # --- what a system is made of ---------------------------------------------------------------------------------

    @abstractmethod
    def advance(self, server_round: int, population: Population, answers: Answers) -> Population:
        """One round of the system: from the population that was sent and the clients' answers to the next one."""

    def begin(self, population: Population, outcome: RoundOutcome) -> Population:
        """What becomes of the initial models before round 1; what happened goes to ``outcome``, of round 0."""
        return population

    def train(self, server_round: int, population: Population, answers: Answers) -> Population:
        """What the system's trainer makes of a population."""
        return self.trainer.advance(server_round, population, answers, self.outcome)

    def purify(self, server_round: int, population: Population) -> Population:
        """What the system's purifier makes of each model; nothing where training has just started over."""
        with timed(self.outcome, "server"):
            if self.phase is None or self.outcome.restarted:
                return population
            return purified(self.phase, self.parts, self.standing, population, server_round, self.outcome)

    def measured(self, population: Population) -> list[Prototype]:
        """The prototypes that the server measures; the first is the one that rates and reports are about."""
        return list(population)

    # --- Flower's hooks -------------------------------------------------------------------------------------------

    def summary(self) -> None:
        """Log what is about to run."""
        system = self.parts.system
        log(INFO, "strategy %s: trained by %s, rule %r", system.name, system.kind.trainer, system.rule)
        log(INFO, "purifier %r, repair %r", system.purifier, system.repair)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Training messages for this round's participants, in partition order; none where no client trains."""
        self._adopt(arrays)
        if not self._ready:
            self._prepare(grid)
        self.outcome = RoundOutcome(server_round, progress=self.parts.progress)
        if self.trainer.asks_clients:
            with timed(self.outcome, "sample"):
                self._asked = self.trainer.ask(server_round, self.standing.population, grid)
        return self._asked

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> tuple[ArrayRecord, MetricRecord]:
        """The round of the system with the replies to the last ``configure_train``; broken ones are dropped."""
        before = self.standing.population
        with deterministic_threads(self.config.run.threads):
            self.standing.population = self.advance(server_round, before, Answers.of(replies, self._asked))
        self._asked = []
        self.outcome.model = self.standing.compared(before)
        self._arrays = population_arrays(self.standing.population)
        valid, dropped = len(self.outcome.valid), len(self.outcome.dropped)
        return self._arrays, MetricRecord({"valid-replies": valid, "dropped-replies": dropped})

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Evaluate messages where clients are to measure (``federation.fraction_evaluate``); none otherwise."""
        self._adopt(arrays)
        if not self.clients.due(server_round):
            return []
        self._asked = self.clients.ask(server_round, self.standing.population, grid)
        return self._asked

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """What the clients' valid rates come to; None where nobody was asked."""
        if not self.clients.due(server_round):
            return None
        return self.clients.conclude(Answers.of(replies, self._asked), self.outcome)

    # --- the loop -------------------------------------------------------------------------------------------------

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None = None,
    ) -> Result:
        """Run all rounds from ``initial_arrays``; ``timeout`` seconds bound each round's wait for replies."""
        train, evaluate = train_config or ConfigRecord(), evaluate_config or ConfigRecord()
        result = Result()
        with deterministic_threads(self.config.run.threads):
            arrays, first = initial_arrays, self._begin(initial_arrays, grid)
            if self.standing.population is not self._given:
                arrays = population_arrays(self.standing.population)
            self._arrays = arrays
            for server_round in range(first, num_rounds + 1):
                messages = list(self.configure_train(server_round, arrays, train, grid))
                answers = self._exchange("train", messages, grid, timeout)
                arrays, result.train_metrics_clientapp[server_round] = self.aggregate_train(server_round, answers)
                messages = list(self.configure_evaluate(server_round, arrays, evaluate, grid))
                answers = self._exchange("evaluate", messages, grid, timeout)
                rates = self.aggregate_evaluate(server_round, answers)
                if rates is not None:
                    result.evaluate_metrics_clientapp[server_round] = rates
                self._finish_round(server_round, num_rounds, grid)
                metrics = None if evaluate_fn is None else evaluate_fn(server_round, arrays)
                if metrics is not None:
                    result.evaluate_metrics_serverapp[server_round] = metrics
            self._repair(num_rounds, grid, timeout)
        result.arrays = population_arrays(self.standing.population)
        return result

    def _begin(self, arrays: ArrayRecord, grid: Grid) -> int:
        """Restore a checkpoint or measure the initial model, prepare the server's data; returns the first round."""
        self._adopt(arrays)
        self._prepare(grid)
        if self.parts.resume_from is not None:
            self.checkpoints.restore(self.parts.resume_from, self.standing, grid)
            return self.parts.resume_from.round + 1
        self._measure(final=self.config.run.rounds == 0)
        self._tell()
        return 1

    def _prepare(self, grid: Grid) -> None:
        outcome, self._ready = self.outcome, True
        if self.trainer.asks_clients:
            with timed(outcome, "connect"):
                self.trainer.connect(grid)
        with timed(outcome, "server"):
            self.phase = self.parts.server_phase()
            if self.phase is not None:
                outcome.facts |= {f"server_data.{key}": value for key, value in self.phase.data.facts.items()}
            self.trainer.prepare(outcome)
            self.standing.initial = self.standing.population = self.begin(self.standing.population, outcome)

    def _adopt(self, arrays: ArrayRecord) -> None:
        """Go on from ``arrays``; without a copy where they are what the last round gave."""
        if arrays is self._arrays:
            return
        population = population_in(arrays)
        if self._arrays is None:
            self.standing.initial = population
        self.standing.population, self._arrays, self._given = population, arrays, population

    def _exchange(self, phase: str, messages: list[Message], grid: Grid, timeout: float) -> Answers:
        if not messages:
            return Answers({})
        with timed(self.outcome, phase):
            return self.roster.send(grid, messages, timeout)

    def _finish_round(self, server_round: int, num_rounds: int, grid: Grid) -> None:
        if server_round % self.config.run.eval_every == 0 or server_round == num_rounds:
            self._measure(final=server_round == num_rounds)
        self._tell()
        if self.checkpoints.due(server_round):
            self.checkpoints.keep(server_round, self.standing, grid)

    def _measure(self, *, final: bool) -> None:
        if self.config.task.eval_split == "none":
            return
        outcome, population = self.outcome, self.standing.population
        with timed(outcome, "evaluate"):
            names = self.measured(population)
            for prototype in names:
                population[prototype].load_into(self.parts.models[prototype])
            outcome.measured = self._measured = self.parts.evaluate(self.parts.model, outcome, final)
            for prototype in names[1:]:
                other = self.parts.evaluate(self.parts.models[prototype], outcome, final)
                outcome.facts[fact_name("prototype.ma_percent", prototype)] = other.clean.accuracy
                if other.attack is not None:
                    outcome.facts[fact_name("prototype.asr_percent", prototype)] = other.attack.asr
        outcome.facts |= outcome.measured.facts
        outcome.notes += outcome.measured.notes

    def _tell(self) -> None:
        self.outcome.notes += self.parts.nodes.news()
        self.outcome.nodes = self.parts.nodes.identities(self.outcome.participants)
        self.outcome.population = self.standing.population
        for observer in self.parts.observers:
            observer.on_round(self.outcome)

    def _repair(self, num_rounds: int, grid: Grid, timeout: float) -> None:
        """Repair the final model; recorded as one more round, after which clients measure it where they are to.

        A checkpoint of the last round holds the model before, so a resumed run repeats it.
        """
        nothing_trained = num_rounds == 0 and not self.config.model.weights
        if self.parts.system.repair is None or nothing_trained:
            return
        trained = self.standing.population
        first_of(trained).load_into(self.parts.model)
        before = self._measured or self.parts.evaluate(self.parts.model, RoundOutcome(num_rounds + 1), False)
        self.outcome = begin_repair(num_rounds, before)
        self.outcome.progress = self.parts.progress
        stage = RepairStage(self.parts, self.roster, self.phase)
        self.standing.population = stage.run(trained, self.outcome, grid, timeout)
        self.outcome.model = self.standing.compared(trained)
        if self.clients.wanted:
            messages = self.clients.ask(num_rounds + 1, self.standing.population, grid)
            self.clients.conclude(self._exchange("evaluate", messages, grid, timeout), self.outcome)
        self._measure(final=True)
        self._tell()
