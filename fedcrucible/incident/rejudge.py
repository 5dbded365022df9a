"""How the rounds of a record would stand under other rules, by the diagnostics that were kept of them.

A rule judges the very updates that were sent, round by round, with the memory that it would have.  That is exact for
rules that ask for lengths, distances, cosines and claimed examples alone; others say that they can't.  It is no run
under that rule: the models that clients were sent stay those of the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from defenses.base import RULES, AggregationRule
from defenses.stored_updates import NotStoredError, StoredUpdates, UpdateGeometry
from defenses.updates import ServerView, State
from fedcrucible.failures import CommandError
from fedcrucible.incident.evidence import Evidence, RoundEvidence
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.load import load, of_record
from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.learning.rng import torch_generator
from fedcrucible_core.learning.weights import SOLE
from strategies.population import owner_of
from strategies.rule_step import FAILURES
from strategies.sampling import participants_per_round

PREFERRED = ("multi-krum", "flame", "clip-fed-filter", "rfa")
"""Rules that are asked unless others are named: the first three that aren't the run's own."""
ALL = "all"
NOTHING_KEPT = "the record holds no diagnostics (output.diagnostics = geometry keeps them)"


@dataclass
class Rejudged:
    """What one rule makes of the rounds."""

    rule: str
    weights: dict[int, dict[int, float]] = field(default_factory=dict)
    """Round to partition to weight, 0 = rejected."""
    failures: dict[int, str] = field(default_factory=dict)
    """Round to why the rule couldn't judge it."""
    impossible: str = ""
    """Why it can judge no round of any record; empty where it can."""

    def verdict(self, round: int, site: int) -> str:
        """rejected, or the weight that it gives; a dash where it judged no such reply."""
        weights = self.weights.get(round, {})
        if site not in weights:
            return "-"
        return f"{100 * weights[site]:.0f} %" if weights[site] > 0 else "rejected"

    @property
    def rejections(self) -> dict[int, tuple[int, int]]:
        """Partition to (rounds in which it is rejected, rounds in which it is judged)."""
        found: dict[int, tuple[int, int]] = {}
        for weights in self.weights.values():
            for site, weight in weights.items():
                out, of = found.get(site, (0, 0))
                found[site] = (out + (weight <= 0), of + 1)
        return found


def chosen_rules(text: str, own: str) -> list[str]:
    """The rules that a command line names, or those that are asked unasked. Raises CommandError for no rule."""
    if text == ALL:
        return list(RULES)
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in RULES:
            raise CommandError(f"--rules: {plain_text(name)!r} is no rule", f"allowed: all, or of {', '.join(RULES)}")
    return names or [name for name in PREFERRED if name != own][:3]


def rejudge(evidence: Evidence, names: Sequence[str], assumed: int | None = None) -> list[Rejudged]:
    """Let rules judge the rounds again, each with the parameters that the run has for it.

    ``assumed`` attackers a round are what rules with a number f assume; None: as the run's settings say, and the most
    that a rule tolerates where they leave it to the truth.  Raises ConfigError where the settings are no longer valid.
    """
    if not evidence.kept:
        return [Rejudged(name, impossible=NOTHING_KEPT) for name in names]
    config = load(of_record(evidence.run.config))
    if assumed is None:
        assumed = config.defense.assumed_malicious
    return [_rejudged(evidence, config, name, assumed) for name in names]


def _rejudged(evidence: Evidence, config: RunConfigBase, name: str, assumed: int) -> Rejudged:
    rule, found = RULES.built(config, name), Rejudged(name)
    if rule.needs.root is not None:
        found.impossible = "needs the server's root set"
        return found
    states: dict[str, State] = {}
    for each in evidence.rounds:
        weights: dict[int, float] = {}
        for prototype, geometry in each.geometry.items():
            try:
                weights |= _weights(each, config, rule, prototype, geometry, states, assumed)
            except NotStoredError as error:
                return Rejudged(name, impossible=str(error))
            except ConfigError:
                raise
            except FAILURES as error:
                found.failures[each.record.round] = plain_text(error)
        if weights:
            found.weights[each.record.round] = weights
    return found


def _weights(
    each: RoundEvidence,
    config: RunConfigBase,
    rule: AggregationRule,
    prototype: str,
    geometry: UpdateGeometry,
    states: dict[str, State],
    assumed: int,
) -> dict[int, float]:
    federation, number, n = config.federation, each.record.round, len(geometry.ids)
    if n < rule.min_clients:
        raise ValueError(f"{rule.name} needs {rule.min_clients} clients, {n} replied")
    excluded = len(each.record.excluded)
    view = ServerView(
        clients=federation.clients - excluded,
        sampled=participants_per_round(federation, excluded) if prototype == SOLE else n,
        rounds=config.run.rounds,
        assumed_malicious=assumed,
    )
    rng = torch_generator(config.run.seed, owner_of("rule", prototype), number)
    result = rule.aggregate(StoredUpdates(geometry, number, rng, states.get(prototype, {}), view))
    if not bool(result.weights.isfinite().all()):
        raise NotStoredError("needs the aggregate itself")
    found = dict(zip(geometry.ids.tolist(), result.weights.tolist(), strict=True))
    states[prototype] = result.state
    return found
