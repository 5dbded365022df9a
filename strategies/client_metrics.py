"""Client-side metrics: some clients measure the model on test data of their own, and the server sums up what they say.

A hostile client may claim any rate from 0 to 100: the numbers are about what clients say, and touch no model.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

from flwr.app import Message, MessageType, MetricRecord
from flwr.serverapp import Grid

from fedcrucible_core.learning.rng import numpy_generator
from strategies.evaluate_messages import ClientRates, read_rates
from strategies.messages import train_content
from strategies.node import Node
from strategies.outcome import RoundOutcome
from strategies.parts import Parts
from strategies.population import Population
from strategies.replies import read_all
from strategies.roster import Answers, Roster
from strategies.seeds import with_seeds


class ClientMetrics:
    """Asks a share of the clients (``federation.fraction_evaluate``) what the model is worth on their own test data."""

    def __init__(self, parts: Parts, roster: Roster) -> None:
        self.parts = parts
        self.roster = roster
        self.asked: list[Node] = []
        self.absent: list[int] = []

    @property
    def wanted(self) -> bool:
        """Whether any client is asked."""
        return self.parts.system.rule is not None and self.parts.config.federation.fraction_evaluate > 0.0

    def due(self, server_round: int) -> bool:
        """Whether clients are asked after this round: whenever the server measures too, unless the settings differ."""
        run = self.parts.config.run
        every = self.parts.config.federation.evaluate_every or run.eval_every
        return self.wanted and (server_round % every == 0 or server_round == run.rounds)

    def ask(self, server_round: int, population: Population, grid: Grid) -> list[Message]:
        """An evaluate message for each client that is drawn, with its own prototype's weights."""
        self.asked = self._drawn(server_round, grid)
        kind, config = self.parts.system.kind, self.parts.config
        prototypes = [kind.prototype_of(config, node.partition) for node in self.asked]
        contents = {
            p: train_content(population[p], server_round, len(self.asked), self.parts.info) for p in set(prototypes)
        }
        return [
            Message(
                content=with_seeds(contents[p], config, server_round, node.partition),
                message_type=MessageType.EVALUATE,
                dst_node_id=node.node_id,
            )
            for node, p in zip(self.asked, prototypes, strict=True)
        ]

    def conclude(self, answers: Answers, outcome: RoundOutcome) -> MetricRecord:
        """Check the answers; rates of each client, their mean, spread and worst go to ``outcome``, causes too."""
        most = self.parts.max_examples
        rates, dropped = read_all(
            answers.of_nodes(self.asked), lambda answer, p: read_rates(answer, p, most), outcome.round
        )
        answers.clear()
        outcome.notes += [f"evaluation of client {p} dropped: {cause}" for p, cause in dropped.items()]
        outcome.client_metrics = {p: _numbers(found) for p, found in rates.items()}
        outcome.evaluations_dropped, outcome.evaluations_absent = dropped, self.absent
        facts = {"clients.measured": float(len(rates)), "clients.dropped": float(len(dropped))}
        facts |= summed("ma", [found.ma_percent for found in rates.values()], worst=min)
        facts |= summed("asr", [r.asr_percent for r in rates.values() if r.asr_percent is not None], worst=max)
        outcome.facts |= facts
        return MetricRecord(dict(facts))

    def _drawn(self, server_round: int, grid: Grid) -> list[Node]:
        """The share of the clients that are online, drawn from (seed, round), in partition order; at least one."""
        nodes, config = self.roster.online(grid), self.parts.config
        self.absent = list(self.roster.nodes.absent)
        count = min(len(nodes), max(1, int(config.federation.fraction_evaluate * len(nodes) + 0.5)))
        rng = numpy_generator(config.run.seed, "evaluate", server_round)
        return [nodes[i] for i in sorted(rng.permutation(len(nodes))[:count])]


def _numbers(rates: ClientRates) -> dict[str, float]:
    numbers = {"examples": float(rates.examples), "ma_percent": rates.ma_percent}
    if not rates.asr_allowed:
        return numbers | {"asr_refused": 1.0}
    return numbers if rates.asr_percent is None else numbers | {"asr_percent": rates.asr_percent}


def summed(name: str, values: list[float], worst: Callable[[list[float]], float]) -> dict[str, float]:
    """Mean over clients, population standard deviation, and the worst client's; nothing where nobody says."""
    if not values:
        return {}
    return {
        f"clients.{name}_mean_percent": statistics.fmean(values),
        f"clients.{name}_spread_percent": statistics.pstdev(values),
        f"clients.{name}_worst_percent": worst(values),
    }
