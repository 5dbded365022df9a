"""Control: what the same data give without a federation."""

from __future__ import annotations

from strategies.loop import Loop
from strategies.population import Population
from strategies.roster import Answers
from strategies.systems import SYSTEMS, System


class CentralTrainingStrategy(Loop):
    """All training data in one place: an epoch of plain training a round, in the server's process."""

    def advance(self, server_round: int, population: Population, answers: Answers) -> Population:
        """One epoch; then the purifier, if one is set."""
        trained = self.train(server_round, population, answers)
        return self.purify(server_round, trained)


@SYSTEMS.register("central")
class CentralTraining(System):
    """Control: no federation; the server trains on all clients' data at once, one epoch a round."""

    paper = "control"
    choices = ("controls",)
    knowledge = ("all training data in one place",)
    trainer = "central"
    strategy = CentralTrainingStrategy
