"""Who trains the population from round to round: a federation, the server on all data, or nobody."""

from __future__ import annotations

from abc import ABC, abstractmethod

from flwr.app import Message
from flwr.serverapp import Grid

from strategies.outcome import RoundOutcome
from strategies.parts import Parts
from strategies.population import Population, Standing
from strategies.roster import Answers, Roster


class Trainer(ABC):
    """Advances the population by one round, in the two halves that Flower's strategies have.

    ``ask`` is what clients are sent, ``advance`` what becomes of the population with their answers.  ``standing`` holds
    what the trainer's parts remember; the population itself is given and returned.
    """

    asks_clients: bool = False

    def __init__(self, parts: Parts, roster: Roster, standing: Standing) -> None:
        self.parts = parts
        self.config = parts.config
        self.roster = roster
        self.standing = standing

    def connect(self, grid: Grid) -> None:  # noqa: B027 (most trainers wait for nobody)
        """Wait for those who train, if anybody has to be waited for."""

    def prepare(self, outcome: RoundOutcome) -> None:  # noqa: B027 (some need nothing)
        """Get ready what is used in every round; facts go to round 0."""

    def ask(self, server_round: int, population: Population, grid: Grid) -> list[Message]:
        """Messages to this round's participants, in partition order; none where no client trains."""
        return []

    @abstractmethod
    def advance(self, server_round: int, population: Population, answers: Answers, outcome: RoundOutcome) -> Population:
        """The population after a round; what happened goes to ``outcome``."""


class Nobody(Trainer):
    """No training: what follows, a server phase or nothing, is all that happens."""

    def advance(self, server_round: int, population: Population, answers: Answers, outcome: RoundOutcome) -> Population:
        """The population as it was."""
        return population
