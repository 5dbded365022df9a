"""Training by a federation: sample clients, send each its prototype, check what comes back, aggregate each group."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from logging import WARNING

from flwr.app import Message, MessageType
from flwr.common.logger import log
from flwr.serverapp import Grid

from defenses.base import RULES, Aggregate, AggregationRule, ClientUpdates
from defenses.stored_updates import UpdateGeometry
from fedcrucible_core.config.json_log import TOLD
from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.weights import Weights
from strategies.messages import train_content
from strategies.node import Node
from strategies.outcome import RoundOutcome
from strategies.payloads import PAYLOADS, Payload
from strategies.population import SOLE, Population, Prototype, fact_name, owner_of
from strategies.replies import Layout, Reply, read_all, read_reply
from strategies.roster import Answers
from strategies.rule_step import FAILURES, Group, aggregate_replies
from strategies.sampling import participants_per_round
from strategies.sanitizer_facts import SECONDS, round_facts
from strategies.seeds import with_seeds
from strategies.timing import timed
from strategies.trainer import Trainer

MEAN = "fedavg"
"""What judges a group that is too small for the rule, where the system says so."""


class Federation(Trainer):
    """Clients train; the system's rule aggregates the updates of each prototype's clients apart."""

    asks_clients = True
    asked: list[Node]
    """This round's participants, in partition order."""
    absent: Sequence[int] = ()
    """Clients without a usable node when they were drawn."""
    root: Labeled | None = None
    aggregated: Sequence[Reply] = ()
    """This round's valid replies, in partition order, where they were aggregated; none where the model was kept."""

    @property
    def rule(self) -> AggregationRule:
        """The system's rule."""
        rule = self.parts.system.rule
        assert rule is not None, "a federation has a rule"
        return rule

    @property
    def payload(self) -> Payload:
        """How models travel."""
        return PAYLOADS[self.config.federation.payload]

    def connect(self, grid: Grid) -> None:
        """Wait for the clients. Raises TooFewNodesError."""
        self.roster.nodes.wait(grid)

    def prepare(self, outcome: RoundOutcome) -> None:
        """Draw the rule's root set; say whose data are poisoned though they are no attackers."""
        outcome.facts |= self.parts.planted
        self.root = self.parts.root_set()
        if self.root is not None:
            outcome.facts["root.images"] = float(len(self.root))

    # --- sampling and sending -------------------------------------------------------------------------------------

    def ask(self, server_round: int, population: Population, grid: Grid) -> list[Message]:
        """A training message for each participant: its own prototype's weights."""
        self.asked = self.roster.participants(server_round, grid)
        self.absent = list(self.roster.nodes.absent)
        wanted = {self.prototype(node.partition) for node in self.asked}
        contents = {
            prototype: train_content(weights.unbounded(), server_round, len(self.asked), self.parts.info, self.payload)
            for prototype, weights in population.items()
            if prototype in wanted
        }
        return [
            Message(
                content=with_seeds(contents[self.prototype(node.partition)], self.config, server_round, node.partition),
                message_type=MessageType.TRAIN,
                dst_node_id=node.node_id,
            )
            for node in self.asked
        ]

    def prototype(self, partition: int) -> Prototype:
        """The prototype of a client, as the client itself works it out."""
        return self.parts.system.kind.prototype_of(self.config, partition)

    # --- receiving ------------------------------------------------------------------------------------------------

    def advance(self, server_round: int, population: Population, answers: Answers, outcome: RoundOutcome) -> Population:
        """Check the answers and let the rule aggregate them; with too few valid ones the population is kept."""
        self.aggregated = ()
        population = {prototype: weights.unbounded() for prototype, weights in population.items()}
        outcome.participants = [node.partition for node in self.asked]
        outcome.excluded = sorted(self.roster.nodes.excluded)
        outcome.malicious = self.roster.malicious_among(self.asked)
        down = {prototype: self.payload.bytes_down(weights) for prototype, weights in population.items()}
        outcome.bytes_down = sum(down[self.prototype(node.partition)] for node in self.asked)
        with timed(outcome, "validate"):
            replies = self._valid(population, answers, outcome)
        answers.clear()
        outcome.absent = list(self.absent)
        outcome.quorum_missed = self.roster.nodes.quorum.missed(outcome.valid, outcome.dropped, outcome.absent)
        if outcome.quorum_missed:
            outcome.notes.append(f"quorum missed: {outcome.quorum_missed}")
            log(WARNING, "round %d: %s", outcome.round, outcome.notes[-1], extra={TOLD: True})
        needed = self.config.federation.min_replies
        if len(replies) < needed:
            outcome.notes.append(f"{len(replies)} valid replies, {needed} needed: the model was kept")
            return population
        self.aggregated = replies
        with timed(outcome, "aggregate"):
            return self._aggregate(population, replies, outcome)

    def _valid(self, population: Population, answers: Answers, outcome: RoundOutcome) -> list[Reply]:
        """The valid replies in partition order: sums must not depend on who answered first."""
        most, now = self.parts.max_examples, outcome.round
        layouts = {
            p: Layout.of(self.parts.models[p], weights, most, now, self.payload) for p, weights in population.items()
        }
        valid, outcome.dropped = read_all(
            answers.of_nodes(self.asked),
            lambda answer, partition: read_reply(answer, partition, layouts[self.prototype(partition)]),
            outcome.round,
        )
        outcome.valid, replies = list(valid), list(valid.values())
        outcome.rested = [reply.partition for reply in replies if reply.rested and reply.partition in outcome.malicious]
        outcome.bytes_up = sum(self.payload.bytes_up(reply.weights) for reply in replies)
        outcome.per_client["train_loss"] = [reply.loss for reply in replies]
        outcome.per_client["client_seconds"] = [reply.seconds for reply in replies]
        self._tell_sanitizers(replies, outcome)
        return replies

    def _tell_sanitizers(self, replies: list[Reply], outcome: RoundOutcome) -> None:
        """What clients say that their sanitizers did to their own data; nothing where none is asked to."""
        if self.parts.system.client_splitter is None:
            return
        outcome.facts |= round_facts(reply.sanitized for reply in replies)
        outcome.per_client["sanitizer_seconds"] = [reply.sanitized.get(SECONDS, 0.0) for reply in replies]

    def _aggregate(self, population: Population, replies: list[Reply], outcome: RoundOutcome) -> Population:
        groups = {p: [r for r in replies if self.prototype(r.partition) == p] for p in population}
        results = {p: self._judge(p, weights, groups[p], outcome) for p, weights in population.items()}
        judged = {p: result for p, result in results.items() if result is not None}
        if judged:
            self._tell_weights(judged, groups, outcome)
        if any(result.restart for result, _ in judged.values()):
            outcome.restarted = True
            self.standing.states |= {owner_of("purifier", p): {} for p in population}
            left = self.config.run.rounds - outcome.round
            outcome.notes.append(
                f"the rule removed clients: training starts over from the initial model, with {left} rounds left"
            )
            return self.standing.initial
        return {**population, **{p: merged for p, (_, merged) in judged.items()}}

    def _judge(
        self, prototype: Prototype, sent: Weights, replies: list[Reply], outcome: RoundOutcome
    ) -> tuple[Aggregate, Weights] | None:
        """What the rule makes of one prototype's clients; None, with a note, where it can't work with them."""
        group = self._group(prototype, sent, replies, outcome)
        if not group.replies and prototype != SOLE:
            outcome.notes.append(f"no client of {prototype} replied: its model was kept")
            return None
        rule, owner = self._rule_for(group, outcome), owner_of("rule", prototype)
        try:
            result, merged = aggregate_replies(group, rule, self.standing.states[owner])
        except FAILURES as error:
            which = "the model" if prototype == SOLE else f"the model of {prototype}"
            outcome.notes.append(f"the rule could not aggregate ({plain_text(error)}): {which} was kept")
            log(WARNING, "round %d: %s", outcome.round, outcome.notes[-1])
            return None
        if rule is self.rule:  # a mean in its place remembers nothing, and forgets nothing
            self.standing.states[owner] = result.state
        outcome.facts |= {fact_name(f"rule.{key}", prototype): value for key, value in result.facts.items()}
        return result, merged

    def _group(self, prototype: Prototype, sent: Weights, replies: list[Reply], outcome: RoundOutcome) -> Group:
        federation = self.config.federation
        sole, excluded = prototype == SOLE, outcome.excluded
        members = federation.clients - len(excluded)
        if not sole:
            members = sum(self.prototype(p) == prototype for p in range(federation.clients) if p not in excluded)
        return Group(
            parts=self.parts.of(prototype),
            prototype=prototype,
            sent=sent,
            round=outcome.round,
            replies=replies,
            clients=members,
            sampled=participants_per_round(federation, len(excluded))
            if sole
            else sum(self.prototype(node.partition) == prototype for node in self.asked),
            root=self.root,
            excluded=frozenset(excluded),
            keep=partial(_keep, outcome, prototype) if self.config.output.diagnostics == "geometry" else None,
        )

    def _rule_for(self, group: Group, outcome: RoundOutcome) -> AggregationRule:
        """The system's rule; the plain mean for a group too small for it, where the system says so, and counted."""
        small = len(group.replies) < self.rule.min_clients
        if not small or self.parts.system.kind.small_groups == "keep":
            return self.rule
        outcome.facts["groups.averaged"] = outcome.facts.get("groups.averaged", 0.0) + 1.0
        return RULES[MEAN]()

    def _tell_weights(
        self,
        judged: dict[Prototype, tuple[Aggregate, Weights]],
        groups: dict[Prototype, list[Reply]],
        outcome: RoundOutcome,
    ) -> None:
        """Weights and diagnostics of all judged clients, in partition order; NaN where a group's rule gave none."""
        weight_of = {
            reply.partition: weight
            for p, (result, _) in judged.items()
            for reply, weight in zip(groups[p], result.weights.tolist(), strict=True)
        }
        outcome.weights = {partition: weight_of[partition] for partition in outcome.valid if partition in weight_of}
        if not any(weight > 0 for weight in outcome.weights.values()):
            outcome.notes.append("the rule accepted nobody")
        for name in dict.fromkeys(name for result, _ in judged.values() for name in result.per_client):
            value_of = {
                reply.partition: value
                for p, (result, _) in judged.items()
                for reply, value in zip(groups[p], result.per_client.get(name, []), strict=False)
            }
            outcome.per_client[name] = [value_of.get(partition, math.nan) for partition in outcome.weights]


def _keep(outcome: RoundOutcome, prototype: Prototype, updates: ClientUpdates) -> None:
    outcome.geometry[prototype] = UpdateGeometry.of(updates)
