"""A rule by itself: one class for all aggregation rules."""

from __future__ import annotations

from strategies.loop import Loop
from strategies.population import Population
from strategies.roster import Answers
from strategies.systems import System


class RuleAloneStrategy(Loop):
    """Federated rounds of one rule: clients train, the rule aggregates; then whatever the settings add.

    Settings may add a purifier, which then follows the rule each round, and a repair of the final model.
    """

    def advance(self, server_round: int, population: Population, answers: Answers) -> Population:
        """w <- w + rule(w_1 - w, ..., w_n - w); then the purifier, if one is set."""
        aggregated = self.train(server_round, population, answers)
        return self.purify(server_round, aggregated)


class RuleAlone(System):
    """An aggregation rule and nothing else; which one, ``strategy`` says."""

    strategy = RuleAloneStrategy
