"""A Flower strategy that defends anybody's app by one of our rules or systems."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from logging import INFO, WARNING
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg
from torch import Tensor, nn

from defenses.updates import ServerView, State
from fedcrucible.flower.aggregation import Judgement, Sent, judged
from fedcrucible.flower.clients import Clients
from fedcrucible.flower.configured import defence_of
from fedcrucible.flower.layout import Columns, Layout, tied
from fedcrucible.flower.uploads import EXACT, Upload, read_upload, without_outliers
from fedcrucible_core.config.json_log import TOLD
from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.learning.rng import torch_generator
from strategies.outcome import RoundOutcome
from strategies.replies import read_all
from strategies.rule_step import FAILURES


class Defended(FedAvg):
    """``Defended("flame", noise=0.001)``: a drop-in for ``FedAvg()`` whose aggregation is one of our defences."""

    def __init__(
        self,
        defence: str = "fedavg",
        *,
        buffers: Sequence[str | int] = (),
        model: nn.Module | None = None,
        max_examples: float = 0,
        seed: int | None = None,
        settings: Mapping[str, Scalar] | None = None,
        fraction_train: float = 1.0,
        fraction_evaluate: float = 1.0,
        min_train_nodes: int = 2,
        min_evaluate_nodes: int = 2,
        min_available_nodes: int = 2,
        weighted_by_key: str = "num-examples",
        arrayrecord_key: str = "arrays",
        configrecord_key: str = "config",
        train_metrics_aggr_fn: Callable[..., MetricRecord] | None = None,
        evaluate_metrics_aggr_fn: Callable[..., MetricRecord] | None = None,
        **parameters: Any,
    ) -> None:
        super().__init__(
            fraction_train=fraction_train,
            fraction_evaluate=fraction_evaluate,
            min_train_nodes=min_train_nodes,
            min_evaluate_nodes=min_evaluate_nodes,
            min_available_nodes=min_available_nodes,
            weighted_by_key=weighted_by_key,
            arrayrecord_key=arrayrecord_key,
            configrecord_key=configrecord_key,
            train_metrics_aggr_fn=train_metrics_aggr_fn,
            evaluate_metrics_aggr_fn=evaluate_metrics_aggr_fn,
        )
        chosen = secrets.randbelow(2**31) if seed is None else seed
        self.defence = defence_of(defence, parameters, {**(settings or {}), "run.seed": chosen})
        self.buffers = tuple(buffers)
        self.model = model
        self.max_examples = max_examples
        self.clients = Clients()
        self.state: State = {}
        self.outcome = RoundOutcome(0)
        self._layout: Layout | None = None
        self._copies: dict[str, str] = {}
        self._initial: ArrayRecord | None = None
        self._arrays: ArrayRecord | None = None
        self._online = 0
        self._rounds = 0

    def summary(self) -> None:
        """Log what defends, then Flower's own settings."""
        log(INFO, "\t├──> Defence: %s (rule %s)", self.defence.system.name, self.defence.rule.name)
        super().summary()

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Messages as FedAvg makes them; what was sent is kept, for an update is what a client changed of it."""
        self.outcome = RoundOutcome(server_round)
        self._look_at(arrays)
        messages = list(super().configure_train(server_round, arrays, config, grid))
        self._online = len(list(grid.get_node_ids()))
        self.outcome.participants = sorted(self.clients.ask(grid, messages) and self.clients.asked.values())
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """What the defence makes of the replies; None for the arrays where the model stays. Never raises for a reply."""
        uploads = self._accepted(server_round, replies)
        metrics = self._train_metrics(uploads)
        return self._aggregated(uploads), metrics

    def _look_at(self, arrays: ArrayRecord) -> None:
        """Know what is sent. Raises ConfigError for arrays that no rule can judge."""
        self._arrays = arrays
        found = Layout.of(arrays, self.buffers, self.model)
        if self._layout is None or not self._layout.fits(found):
            self._layout, self._copies, self.state = found, {}, {}
        if self._initial is None:
            self._initial = arrays

    def _accepted(self, server_round: int, replies: Iterable[Message]) -> dict[int, Upload]:
        layout, outcome = self._layout, self.outcome
        assert layout is not None
        answers = self.clients.answers(replies)
        limit = float(self.max_examples)
        valid, dropped = read_all(
            answers, lambda m, _: read_upload(m, layout, self.weighted_by_key, limit or EXACT), server_round
        )
        kept, outliers = without_outliers(valid, limit)
        for client, cause in outliers.items():
            valid[client].release()
            log(WARNING, "round %d: reply of client %d dropped: %s", server_round, client, cause, extra={TOLD: True})
        outcome.valid, outcome.dropped = list(kept), dict(sorted({**dropped, **outliers}.items()))
        return kept

    def _aggregated(self, uploads: dict[int, Upload]) -> ArrayRecord | None:
        outcome = self.outcome
        if not uploads:
            outcome.notes.append("no valid reply: the model is kept")
            return None
        try:
            judgement = self._judged(uploads)
        except FAILURES as error:
            outcome.notes.append(f"rule {self.defence.rule.name}: {plain_text(error)}; the model is kept")
            log(WARNING, "round %d: %s", outcome.round, outcome.notes[-1])
            return None
        finally:
            for upload in uploads.values():
                upload.release()
        result = judgement.result
        self.state = result.state
        outcome.weights = {client: float(w) for client, w in zip(uploads, result.weights, strict=True)}
        outcome.per_client = dict(result.per_client)
        outcome.facts |= {f"rule.{name}": value for name, value in result.facts.items()}
        if result.restart:
            outcome.notes.append("training starts over from the initial model")
            return self._initial
        return judgement.arrays

    def _judged(self, uploads: dict[int, Upload]) -> Judgement:
        layout, arrays, outcome = self._layout, self._arrays, self.outcome
        assert layout is not None
        assert arrays is not None
        copies = tied(layout, arrays, [upload.arrays for upload in uploads.values()])
        if copies != self._copies:
            self._copies, self.state = copies, {}
        sent = Sent(layout, Columns.of(layout.learned, copies), arrays, outcome.round)
        rng = torch_generator(self.defence.config.run.seed, "rule", outcome.round)
        return judged(self.defence.rule, sent, uploads, self.state, rng, lambda w_t: self._view(sent, w_t))

    def _view(self, sent: Sent, w_t: Tensor) -> ServerView:
        return ServerView(
            slots=sent.columns.slots,
            clients=max(self._online, len(self.clients.asked)),
            sampled=len(self.clients.asked),
            rounds=self._rounds,
            assumed_malicious=self.defence.config.defense.assumed_malicious,
        )

    def _train_metrics(self, uploads: dict[int, Upload]) -> MetricRecord | None:
        if not uploads:
            return None
        try:
            return self.train_metrics_aggr_fn([upload.content for upload in uploads.values()], self.weighted_by_key)
        except Exception as error:
            self.outcome.notes.append(f"the metrics could not be aggregated: {plain_text(error)}")
            return None
