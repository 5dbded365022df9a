"""Control: what plain fine-tuning on the server's data does in the guided phase's place."""

from __future__ import annotations

from strategies.loop import Loop
from strategies.population import Population
from strategies.roster import Answers
from strategies.systems import SYSTEMS, System


class FineTuneStrategy(Loop):
    """FedAvg, then cross-entropy on the server's synthetic images, every round."""

    def advance(self, server_round: int, population: Population, answers: Answers) -> Population:
        """The mean of the clients' models, fine-tuned."""
        mean = self.train(server_round, population, answers)
        return self.purify(server_round, mean)


@SYSTEMS.register("fine-tune")
class FineTune(System):
    """Control: FedAvg, then plain cross-entropy fine-tuning on the server's data every round."""

    paper = "control"
    choices = ("controls",)
    rule = "fedavg"
    purifier = "fine-tune"
    strategy = FineTuneStrategy
