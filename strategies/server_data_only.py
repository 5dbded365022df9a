"""Control: what the server's data give without any client."""

from __future__ import annotations

from strategies.loop import Loop
from strategies.population import Population
from strategies.roster import Answers
from strategies.systems import SYSTEMS, System


class ServerDataOnlyStrategy(Loop):
    """Nobody is asked; the server's phase alone trains the model."""

    def advance(self, server_round: int, population: Population, answers: Answers) -> Population:
        """The last round's model, trained on by the server."""
        return self.purify(server_round, population)


@SYSTEMS.register("server-data-only")
class ServerDataOnly(System):
    """Control: no client at all; the model is trained on the server's data alone, as many rounds."""

    paper = "control"
    choices = ("controls",)
    trainer = "nobody"
    purifier = "fine-tune"
    strategy = ServerDataOnlyStrategy
