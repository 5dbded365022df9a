"""A Flower strategy that defends anybody's app by one of our rules or systems."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from logging import INFO
from pathlib import Path
from typing import Any, NoReturn

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg, Result
from torch import nn

from fedcrucible.flower.aggregator import Aggregator
from fedcrucible.flower.app_run import AppRun, EvaluateFunction
from fedcrucible.flower.arguments import check_arguments
from fedcrucible.flower.clients import Asked
from fedcrucible.flower.configured import Defence, defence_of
from fedcrucible.flower.evaluations import aggregated, concluded
from fedcrucible.flower.given import Given, Samplelike, check
from fedcrucible.flower.on_disk import DiskRoom
from fedcrucible.flower.patient_grid import PatientGrid
from fedcrucible.flower.record import folder_of
from fedcrucible.flower.server_optimiser import ServerOptimiser
from fedcrucible.flower.server_side import ServerSide
from fedcrucible.flower.uploads import Upload, accepted, size_of
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.foundation.base import Guide
from fedcrucible_core.records.schema import RoundRecord
from strategies.outcome import RoundOutcome
from strategies.timing import timed

MetricsFunction = Callable[[list[RecordDict], str], MetricRecord]


class Defended(FedAvg):
    """Flower's FedAvg with one of our defences in the place of the mean: ``Defended("flame", noise=0.001)``.

    Clients are ordinary Flower clients: one ArrayRecord and one MetricRecord with ``num-examples`` come back, under any
    names.  Every reply is checked against what was sent; one that doesn't fit, or can't be fetched, is dropped with its
    cause, and the run goes on whatever clients send.  A round without a valid reply, or one that the rule can't judge,
    keeps the model.

    What a rule judges are the floats that clients train.  Statistics of batch normalisation are averaged over accepted
    clients (``settings={"federation.buffers": "median"}``), whole numbers are the largest of theirs, flags what most of
    their weight says.  All come back in the types and under the keys in which they were sent; float16 and bfloat16 are
    accumulated in float32, float64 in float64.

    A round takes the room of its replies and of about three models (4 bytes a parameter, 8 in float64): the matrix of
    updates takes the place of the replies, which are let go one by one.  With ``on_disk`` it takes that of a few models
    and of four replies on their way, however many clients there are.

    Args:
        defence: a rule's or a system's name, e.g. ``krum``, ``flame``, ``clip-fed``.
        record: folder of the run's record, with page and detection table (``fedcrucible report FOLDER``); written by
            :meth:`start`. None = none. A relative one counts from the working folder of the server process.
        resume: go on after the last round that ``record`` kept: with its model, with what the rule remembers, with its
            clients. An unfinished run that kept nothing begins anew.
        checkpoint_every: keep what a resumed run needs every so many rounds, in ``record``; 0 = never.
        model: the app's ``nn.Module``, where a defence runs it; it is copied. It also says which arrays are buffers.
        class_names: of the model's outputs, for a guide.
        input_shape: of one input, e.g. ``(3, 32, 32)``; known where samples are given.
        normalise: mean and deviation per channel by which clients normalise pictures of [0, 1] before the model.
        root: labelled samples (inputs, labels) of the server's own with true labels, for rules with a root set, which
            draw ``root_samples`` of them, and for repairs (``settings={"repair.name": "fine-pruning"}``).
        server_images: labelled pictures float32 in [0, 1], or the name of a source of ours that makes them.
        guide: name or folder of a guide (``tiny`` ships), or a ``Guide``.
        buffers: names or positions of arrays that are statistics of batch normalisation, where names don't tell.
        inner: one of Flower's server optimisers, fed with the defence's aggregate: ``FedAdam(eta=0.01)``.
        max_examples: a reply that claims more is dropped; 0 = 1000 times the round's median.
        malicious_key: name of a metric by which clients of an experiment say (1 or 0) that they attack; for the
            record's figures alone. Empty = nobody knows.
        seed: of noise and draws; None = drawn anew.
        on_disk: folder in whose nameless files replies and updates lie, for models of which a round's replies don't fit
            into memory. None = memory.
        settings: further keys of our configuration, e.g. ``{"training.lr": 0.05}`` for a root set.
        on_round: is told of every round's record line.
        parameters: the defence's own, as under ``defense.NAME`` and ``purifier.NAME`` of the configuration.

    The others are FedAvg's own.

    Raises:
        ConfigError: a name, parameter or combination that can't be used, or what the defence needs and wasn't given.
    """

    def __init__(
        self,
        defence: str = "fedavg",
        *,
        record: str | Path | None = None,
        resume: bool = False,
        checkpoint_every: int = 1,
        model: nn.Module | None = None,
        class_names: Sequence[str] = (),
        input_shape: Sequence[int] = (),
        normalise: tuple[Sequence[float], Sequence[float]] | None = None,
        root: Samplelike | None = None,
        server_images: Samplelike | str | None = None,
        guide: Guide | str | Path | None = None,
        buffers: Sequence[str | int] = (),
        inner: FedAvg | None = None,
        max_examples: float = 0,
        malicious_key: str = "",
        seed: int | None = None,
        on_disk: str | Path | None = None,
        settings: Mapping[str, Scalar] | None = None,
        on_round: Callable[[RoundRecord], None] | None = None,
        fraction_train: float = 1.0,
        fraction_evaluate: float = 1.0,
        min_train_nodes: int = 2,
        min_evaluate_nodes: int = 2,
        min_available_nodes: int = 2,
        weighted_by_key: str = "num-examples",
        arrayrecord_key: str = "arrays",
        configrecord_key: str = "config",
        train_metrics_aggr_fn: MetricsFunction | None = None,
        evaluate_metrics_aggr_fn: MetricsFunction | None = None,
        **parameters: Any,
    ) -> None:
        check_arguments(locals())
        drawn = {"run.seed": secrets.randbelow(2**31) if seed is None else seed}
        self.defence: Defence = defence_of(defence, parameters, {**drawn, **(settings or {})})
        given = Given.of(model, class_names, input_shape, normalise, root, server_images, guide)
        check(self.defence, given)
        super().__init__(
            fraction_train, fraction_evaluate, min_train_nodes, min_evaluate_nodes, min_available_nodes,
            weighted_by_key, arrayrecord_key, configrecord_key, train_metrics_aggr_fn, evaluate_metrics_aggr_fn,
        )  # fmt: skip
        optimiser = None if inner is None else ServerOptimiser(inner)
        self.room = None if on_disk is None else DiskRoom(folder_of(on_disk))
        places = tuple(place if isinstance(place, str) else int(place) for place in buffers)
        aggregator = Aggregator(self.defence, ServerSide(self.defence, given), optimiser, places, self.room)
        self.run = AppRun(self.defence, aggregator, record, resume, checkpoint_every, malicious_key, seed, on_round)
        self.max_examples = float(max_examples)
        self._asked = Asked()
        self._evaluating = Asked()
        self._grid: PatientGrid | None = None
        self._sent_at = 0.0

    @property
    def outcome(self) -> RoundOutcome:
        """The round that runs, or the last one: who was accepted, rejected or dropped, and why."""
        return self.run.outcome

    @property
    def aggregator(self) -> Aggregator:
        """The server's side of all rounds."""
        return self.run.aggregator

    def summary(self) -> None:
        """Log what defends, then Flower's own settings."""
        system = self.defence.system
        purifier = "" if system.purifier is None else f", purifier {system.purifier.name}"
        log(INFO, "\t├──> Defence: %s (rule %s%s)", system.name, system.rule_name, purifier)
        super().summary()

    # --- the whole run --------------------------------------------------------------------------------------------

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: EvaluateFunction | None = None,
    ) -> Result:
        """Flower's own loop, recorded; what ``evaluate_fn`` returns as ``accuracy`` and ``asr`` is MA and ASR there.

        Raises ConfigError before anybody trains, for arrays that no rule can judge and for a record that can't be used.
        """
        check_arguments({"num_rounds": num_rounds})
        if isinstance(grid, Grid):
            grid = PatientGrid(grid, self.defence.config.federation.poll_s, self.room)
        with contextlib.ExitStack() as stack:
            arrays = stack.enter_context(self.run.begun(initial_arrays, num_rounds))
            self._grid = grid if isinstance(grid, PatientGrid) else None
            stack.callback(setattr, self, "_grid", None)
            result = super().start(
                grid,
                arrays,
                num_rounds - self.run.done,
                timeout,
                train_config,
                evaluate_config,
                self.run.at_the_end_of_rounds(evaluate_fn),
            )
            if not len(result.arrays):
                result.arrays = arrays
            return self.run.ended(result, num_rounds, evaluate_fn)

    # --- Flower's hooks -------------------------------------------------------------------------------------------

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Messages as FedAvg makes them; what was sent is kept, for an update is what a client changed of it.

        Raises ConfigError where so many clients are too few for the rule.
        """
        self.run.check_running()
        server_round += self.run.done
        self.run.outcome = outcome = RoundOutcome(server_round)
        self.aggregator.look_at(arrays)
        if self.aggregator.optimiser is not None:
            self.aggregator.optimiser.configure(server_round, arrays, self.aggregator.layout, config)
        messages = list(super().configure_train(server_round, arrays, config, grid))
        self.run.online = len(list(grid.get_node_ids()))
        self._asked = self.run.clients.ask(grid, messages)
        outcome.participants = self._asked.clients
        if messages and server_round == 1 + self.run.done:
            self.defence.rule.check(len(messages), max(0, self.defence.config.defense.assumed_malicious))
        outcome.bytes_down = len(messages) * size_of(arrays)
        self._sent_at = time.perf_counter()
        return messages

    def aggregate_train(
        self,
        server_round: int,  # noqa: ARG002
        replies: Iterable[Message],
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """What the defence makes of the replies; the arrays are None where the model stays.

        Nothing that a client sends raises.
        """
        outcome, received = self.outcome, list(replies)
        if self._sent_at:
            outcome.seconds["train"] = time.perf_counter() - self._sent_at
        with timed(outcome, "validate"):
            uploads = self._accepted(received)
        contents = {client: upload.content for client, upload in uploads.items()}
        arrays = self.aggregator.new_arrays(uploads, outcome, len(outcome.participants), self.run.online)
        outcome.model = self.aggregator.compared(arrays)
        metrics = aggregated(contents, self.train_metrics_aggr_fn, self.weighted_by_key, outcome)
        if outcome.dropped:
            log(INFO, "aggregate_train: %d replies valid, %d dropped", len(outcome.valid), len(outcome.dropped))
        return arrays, metrics

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Messages as FedAvg makes them."""
        messages = list(super().configure_evaluate(server_round + self.run.done, arrays, config, grid))
        self._evaluating = self.run.clients.ask(grid, messages)
        return messages

    def aggregate_evaluate(
        self,
        server_round: int,  # noqa: ARG002
        replies: Iterable[Message],
    ) -> MetricRecord | None:
        """The app's own aggregate of what clients say of the model. Nothing that a client sends raises."""
        received = list(replies)
        asked = self._evaluating if self._evaluating.numbers else self.run.clients.of_replies(received)
        answers = asked.answers(received, self._failed())
        self._evaluating = Asked()
        with timed(self.outcome, "evaluate"):
            return concluded(
                answers, self.evaluate_metrics_aggr_fn, self.weighted_by_key, self.max_examples, self.outcome
            )

    def configure_fit(self, *_: Any, **__: Any) -> NoReturn:
        """Refused: what Flower's older loop, and with it secure aggregation, calls. Raises ConfigError."""
        raise ConfigError(
            "strategy", "Defended", "Flower's message API (strategy.start); SecAgg and SecAgg+ hide the single updates "
            "that a defence judges, so the two exclude each other",
        )  # fmt: skip

    aggregate_fit = initialize_parameters = configure_fit

    # --- a round's replies ----------------------------------------------------------------------------------------

    def _accepted(self, received: list[Message]) -> dict[int, Upload]:
        """Valid uploads by client, ascending; the others are dropped with their cause."""
        layout, outcome = self.aggregator.layout, self.outcome
        asked = self._asked if self._asked.numbers else self.run.clients.of_replies(received)
        outcome.participants = asked.clients
        answers = asked.answers(received, self._failed())
        self._asked = Asked()
        kept, valid = accepted(answers, layout, self.weighted_by_key, self.max_examples, outcome)
        if self.run.malicious_key:
            outcome.malicious = [c for c, upload in valid.items() if upload.metrics.get(self.run.malicious_key) == 1]
        for client in outcome.dropped.keys() & valid.keys():
            valid[client].release()
        return kept

    def _failed(self) -> Mapping[int, Exception]:
        return {} if self._grid is None else self._grid.failed
