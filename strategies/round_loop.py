"""The round loop: sample, train, validate, aggregate, server phase, evaluate, record, checkpoint; then repair."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from logging import INFO, WARNING
from typing import Literal, TypeVar

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy
from torch import Tensor

from defenses.base import State
from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.device import deterministic_threads
from fedcrucible_core.learning.rng import torch_generator
from fedcrucible_core.learning.survey import Survey
from fedcrucible_core.learning.vector import buffer_slots
from strategies import attack_memory
from strategies.buffers import variances_valid
from strategies.exchange import exchange
from strategies.messages import (
    GlobalModel,
    InvalidReplyError,
    Reply,
    from_arrays,
    read_reply,
    read_survey_answer,
    to_arrays,
    train_content,
)
from strategies.nodes import Node, sample
from strategies.outcome import Checkpoint, Measured, RoundOutcome
from strategies.parts import Parts
from strategies.repair_step import begin_repair, question, repaired, survey_messages
from strategies.rule_step import FAILURES, aggregate_replies
from strategies.server_phase import ServerPhase

T = TypeVar("T")
MEMORY_LIMIT_S = 60.0
"""Seconds to wait for what attackers remember when a checkpoint is kept."""


class RoundLoop(Strategy):
    """Flower strategy with its own loop: no reply, however broken, can stop it."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.config = parts.config
        self.model = self._initial = GlobalModel.of(parts.model)
        self.states: dict[str, State] = {"rule": {}, "purifier": {}}
        self.phase: ServerPhase | None = None
        self.root: Labeled | None = None
        self._sent: list[Node] = []
        self._outcome = RoundOutcome(0)
        self._measured: Measured | None = None

    # --- Flower's interface -------------------------------------------------------------------------------------

    def summary(self) -> None:
        """Log what is about to run."""
        log(INFO, "strategy %s: rule %r", self.parts.system.name, self.parts.system.rule)
        log(INFO, "purifier %r", self.parts.system.purifier)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Training messages for this round's participants, in partition order."""
        return self._train_messages(server_round, from_arrays(arrays), grid)

    def _train_messages(self, server_round: int, model: GlobalModel, grid: Grid) -> list[Message]:
        self._sent = self._participants(server_round, grid)
        content = train_content(model, server_round, len(self._sent), self.parts.info)
        return [
            Message(content=content, message_type=MessageType.TRAIN, dst_node_id=node.node_id) for node in self._sent
        ]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Validate and aggregate replies (of the nodes of the last ``configure_train``) into the next model."""
        answers: dict[int, Message | Exception] = {reply.metadata.src_node_id: reply for reply in replies}
        self._aggregate(server_round, answers)
        return to_arrays(self.model), MetricRecord(
            {"valid-replies": len(self._outcome.valid), "dropped-replies": len(self._outcome.dropped)}
        )

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """No federated evaluation: the server measures the global model itself."""
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Nothing to aggregate."""
        return None

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
        self.model = self._initial = from_arrays(initial_arrays)
        result = Result()
        with deterministic_threads(self.config.run.threads):
            first = self._begin(grid)
            for server_round in range(first, num_rounds + 1):
                self._round(server_round, num_rounds, grid, timeout)
                if evaluate_fn is not None:
                    metrics = evaluate_fn(server_round, to_arrays(self.model))
                    if metrics is not None:
                        result.evaluate_metrics_serverapp[server_round] = metrics
            self._repair(num_rounds, grid, timeout)
        result.arrays = to_arrays(self.model)
        return result

    # --- one round ----------------------------------------------------------------------------------------------

    def _begin(self, grid: Grid) -> int:
        """Restore a checkpoint or measure the initial model, prepare the server's data; returns the first round."""
        outcome = self._outcome = RoundOutcome(0)
        if self.parts.system.uses_clients:
            with _timed(outcome, "connect"):
                self.parts.nodes.wait(grid)
        with _timed(outcome, "server"):
            self.phase = self.parts.server_phase()
            self.root = self.parts.root_set()
        if self.phase is not None:
            outcome.facts |= {f"server_data.{key}": value for key, value in self.phase.data.facts.items()}
        if self.root is not None:
            outcome.facts["root.images"] = float(len(self.root.labels))
        if self.parts.resume_from is not None:
            self._restore(self.parts.resume_from, grid)
            return self.parts.resume_from.round + 1
        self._measure(outcome, final=self.config.run.rounds == 0)
        self._tell(outcome)
        return 1

    def _round(self, server_round: int, num_rounds: int, grid: Grid, timeout: float) -> None:
        outcome, before = RoundOutcome(server_round), self.model
        self._outcome = outcome
        if self.parts.system.uses_clients:
            with _timed(outcome, "sample"):
                messages = self._train_messages(server_round, self.model, grid)
            with _timed(outcome, "train"):
                answers = self._exchange(grid, messages, timeout)
            self._aggregate(server_round, answers)
        with _timed(outcome, "server"):
            self._purify(server_round, outcome)
        outcome.model = self._compared(before)
        if server_round % self.config.run.eval_every == 0 or server_round == num_rounds:
            self._measure(outcome, final=server_round == num_rounds)
        self._tell(outcome)
        every = self.config.run.checkpoint_every
        if every and server_round % every == 0:
            self._keep_checkpoint(server_round, grid)

    def _keep_checkpoint(self, server_round: int, grid: Grid) -> None:
        memories: dict[str, State] = {}
        if self.parts.attackers_remember:
            memories, problems = attack_memory.ask(self._asking(grid), self._attackers(grid), self.model.nbytes)
            self._note(problems)
        for observer in self.parts.observers:
            observer.on_checkpoint(Checkpoint(server_round, self.model, self.states | memories))

    def _restore(self, checkpoint: Checkpoint, grid: Grid) -> None:
        self.model = checkpoint.model
        self.states = attack_memory.without_memories(checkpoint.states)
        if self.parts.attackers_remember:
            self._note(attack_memory.give_back(self._asking(grid), self._attackers(grid), checkpoint.states))

    def _attackers(self, grid: Grid) -> list[Node]:
        nodes = self.parts.nodes.refresh(grid)
        truth = self._truth(nodes)
        return [node for node in nodes if node.partition in truth]

    def _asking(self, grid: Grid) -> attack_memory.Send:
        limit = min(self.config.federation.timeout_s, MEMORY_LIMIT_S)
        return lambda messages: self._send(grid, messages, limit)

    def _note(self, texts: Iterable[str]) -> None:
        for text in texts:
            log(WARNING, "%s", text)
            for observer in self.parts.observers:
                observer.on_note(text)

    def _exchange(self, grid: Grid, messages: Sequence[Message], timeout: float) -> dict[int, Message | Exception]:
        self._outcome.bytes_down = self.model.nbytes * len(messages)
        return self._send(grid, messages, timeout)

    def _send(self, grid: Grid, messages: Sequence[Message], timeout: float) -> dict[int, Message | Exception]:
        in_order = self.parts.nodes.in_order
        poll = 0.05 if in_order else self.config.federation.poll_s
        return exchange(grid, messages, timeout, poll, one_by_one=not in_order)

    def _participants(self, server_round: int, grid: Grid) -> list[Node]:
        nodes = {node.partition: node for node in self.parts.nodes.refresh(grid)}
        drawn = sample(sorted(nodes), self.config, server_round, self._truth(nodes.values()))
        return [nodes[partition] for partition in drawn]

    def _truth(self, nodes: Iterable[Node]) -> frozenset[int]:
        declared = {n.partition: n.declared_malicious for n in nodes if n.declared_malicious is not None}
        return frozenset(p for p, bad in declared.items() if bad) | (self.parts.malicious - set(declared))

    def _aggregate(self, server_round: int, answers: dict[int, Message | Exception]) -> None:
        outcome = self._outcome
        self._name_participants(outcome)
        with _timed(outcome, "validate"):
            replies = self._validate(answers, outcome)
        answers.clear()
        if len(replies) < self.config.federation.min_replies:
            outcome.notes.append(
                f"{len(replies)} valid replies, {self.config.federation.min_replies} needed: the model was kept"
            )
            return
        with _timed(outcome, "aggregate"):
            self._apply(server_round, replies, outcome)

    def _name_participants(self, outcome: RoundOutcome) -> None:
        outcome.participants = [node.partition for node in self._sent]
        truth = self._truth(self._sent)
        outcome.malicious = [p for p in outcome.participants if p in truth]

    def _validate(self, answers: dict[int, Message | Exception], outcome: RoundOutcome) -> list[Reply]:
        slots = buffer_slots(self.parts.model)

        def read(answer: Message | Exception | None, partition: int) -> Reply:
            reply = read_reply(answer, partition, self.model, self.parts.max_examples)
            if not bool(torch.isfinite(reply.parameters - self.model.parameters).all()):
                raise InvalidReplyError("the update overflows float32")
            if not bool(variances_valid(reply.buffers[None], slots).all()):
                raise InvalidReplyError("a running variance is negative")
            return reply

        replies = self._read_all(answers, outcome, read)
        outcome.rested = [reply.partition for reply in replies if reply.rested and reply.partition in outcome.malicious]
        outcome.bytes_up = self.model.nbytes * len(replies)
        outcome.per_client["train_loss"] = [reply.loss for reply in replies]
        outcome.per_client["client_seconds"] = [reply.seconds for reply in replies]
        return replies

    def _read_all(
        self,
        answers: dict[int, Message | Exception],
        outcome: RoundOutcome,
        read: Callable[[Message | Exception | None, int], T],
    ) -> list[T]:
        """What ``read`` makes of the valid answers; the others are dropped, with their cause."""
        found = []
        for node in self._sent:  # partition order: sums must not depend on who answered first
            try:
                found.append(read(answers.get(node.node_id), node.partition))
                outcome.valid.append(node.partition)
            except InvalidReplyError as cause:
                outcome.dropped[node.partition] = str(cause)
                log(WARNING, "round %d: reply of client %d dropped: %s", outcome.round, node.partition, cause)
        return found

    def _apply(self, server_round: int, replies: list[Reply], outcome: RoundOutcome) -> None:
        try:
            result, merged = aggregate_replies(
                self.parts, self.root, self.model, server_round, replies, self.states["rule"]
            )
        except FAILURES as error:
            outcome.notes.append(f"the rule could not aggregate ({plain_text(error)}): the model was kept")
            log(WARNING, "round %d: %s", server_round, outcome.notes[-1])
            return
        self.states["rule"] = result.state
        outcome.weights = dict(zip(outcome.valid, result.weights.tolist(), strict=True))
        outcome.per_client |= result.per_client
        outcome.facts |= {f"rule.{key}": value for key, value in result.facts.items()}
        if not bool((result.weights > 0).any()):
            outcome.notes.append("the rule accepted nobody")
        if result.restart:
            self.model, self.states["purifier"] = self._initial, {}
            outcome.restarted = True
            left = self.config.run.rounds - server_round
            outcome.notes.append(
                f"the rule removed clients: training starts over from the initial model, with {left} rounds left"
            )
        else:
            self.model = merged

    def _purify(self, server_round: int, outcome: RoundOutcome) -> None:
        if self.phase is None or outcome.restarted:
            return
        self._load()
        rng = torch_generator(self.config.run.seed, "purify", server_round)
        try:
            result = self.phase.run(self.parts.model, rng, self.states["purifier"])
        except FloatingPointError as error:
            outcome.notes.append(f"server phase discarded: {plain_text(error)}")
            log(WARNING, "round %d: %s", server_round, outcome.notes[-1])
            return
        self.states["purifier"] = result.state
        outcome.facts |= {f"purifier.{key}": value for key, value in result.facts.items()}
        self.model = GlobalModel.of(self.parts.model)

    def _measure(self, outcome: RoundOutcome, *, final: bool) -> None:
        with _timed(outcome, "evaluate"):
            self._load()
            outcome.measured = self._measured = self.parts.evaluate(self.parts.model, outcome, final)
        outcome.facts |= outcome.measured.facts
        outcome.notes += outcome.measured.notes

    # --- after the last round -----------------------------------------------------------------------------------

    def _repair(self, num_rounds: int, grid: Grid, timeout: float) -> None:
        """Let the system's repair work on the final model, after a survey of the clients where it asks for one.

        Recorded as one more round.  A checkpoint of the last round holds the model before, so a resumed run repeats it.
        """
        if self.parts.system.repair is None or num_rounds == 0:
            return
        trained, survey = self.model, question(self.parts, self.model)
        self._load()
        before = self._measured or self.parts.evaluate(self.parts.model, RoundOutcome(num_rounds + 1), False)
        outcome = self._outcome = begin_repair(num_rounds, before)
        answers = None if survey is None else self._survey(survey, outcome, grid, timeout)
        needed = 0 if survey is None else self.config.federation.min_replies
        if answers is not None and len(answers) < needed:
            outcome.notes.append(f"{len(answers)} valid answers, {needed} needed: the model was kept")
        else:
            with _timed(outcome, "server"):
                stacked = None if answers is None else torch.stack(answers)
                self.model = repaired(self.parts, self.phase, self.model, stacked, outcome)
        outcome.model = self._compared(trained)
        self._measure(outcome, final=True)
        self._tell(outcome)

    def _survey(self, survey: Survey, outcome: RoundOutcome, grid: Grid, timeout: float) -> list[Tensor]:
        """The valid answers to a survey, in partition order."""
        with _timed(outcome, "sample"):
            nodes = self.parts.nodes.refresh(grid)
            self._sent = nodes if survey.everyone else self._participants(outcome.round, grid)
            self._name_participants(outcome)
            messages = survey_messages(self.parts, self.model, outcome.round, survey, self._sent)
        with _timed(outcome, "train"):
            replies = self._exchange(grid, messages, timeout)
        with _timed(outcome, "validate"):
            answers = self._read_all(
                replies, outcome, lambda reply, partition: read_survey_answer(reply, partition, survey)
            )
        outcome.bytes_up = 8 * survey.channels * len(answers)
        return answers

    def _compared(self, before: GlobalModel) -> Literal["changed", "kept", "initial"]:
        """What became of the model since ``before``; of one that is where it began, that it is there."""
        if self.model.equals(self._initial):
            return "initial"
        return "kept" if self.model.equals(before) else "changed"

    def _load(self) -> None:
        self.model.load_into(self.parts.model)

    def _tell(self, outcome: RoundOutcome) -> None:
        outcome.notes += self.parts.nodes.news()
        for observer in self.parts.observers:
            observer.on_round(outcome)


@contextmanager
def _timed(outcome: RoundOutcome, phase: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        outcome.seconds[phase] = outcome.seconds.get(phase, 0.0) + time.perf_counter() - start
