"""Control: what the guide knows of the task by itself."""

from __future__ import annotations

from strategies.loop import Loop
from strategies.population import Population
from strategies.roster import Answers
from strategies.systems import SYSTEMS, System


class GuideZeroShotStrategy(Loop):
    """No rounds; what is measured is the guide."""

    def advance(self, server_round: int, population: Population, answers: Answers) -> Population:
        """Nothing happens to a model that nobody measures."""
        return population


@SYSTEMS.register("guide-zero-shot")
class GuideZeroShot(System):
    """Control: nothing is trained; the guide classifies the test images by its class prompts."""

    paper = "control"
    choices = ("controls",)
    trainer = "nobody"
    measure = "guide"
    strategy = GuideZeroShotStrategy
