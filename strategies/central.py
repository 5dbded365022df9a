"""Training without a federation: the server trains each prototype on all training data, an epoch a round."""

from __future__ import annotations

from functools import cached_property
from logging import WARNING

from flwr.common.logger import log

from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.rng import torch_generator
from fedcrucible_core.learning.training import train
from fedcrucible_core.learning.weights import Weights
from strategies.outcome import RoundOutcome
from strategies.population import Population, Prototype, fact_name, owner_of
from strategies.roster import Answers
from strategies.timing import timed
from strategies.trainer import Trainer


def train_epoch(config: RunConfigBase, model: SplitModel, data: Labeled, prototype: Prototype, number: int) -> float:
    """Epoch ``number`` (1, 2, ...) of a run's central training of ``model``, in place; returns the mean loss.

    A client's training, one epoch of it, by the chance of this epoch: whoever repeats all epochs from the run's initial
    model gets the run's own.
    """
    run = config.run
    rng = torch_generator(run.seed, owner_of("central", prototype), number)
    settings = config.training.model_copy(update={"local_epochs": 1})
    return train(model, data.inputs, data.labels, settings, rng, precision=run.precision)


class Central(Trainer):
    """One epoch of the clients' own training a round, on the whole training set, in this process.

    Learning rate, batch size, momentum (fresh each round, as a client's is), decay and augmentation are those of the
    section ``training``; its ``local_epochs`` have no effect.
    """

    def prepare(self, outcome: RoundOutcome) -> None:
        """Load the data."""
        outcome.facts |= self.parts.central_facts()

    @cached_property
    def data(self) -> Labeled:
        """What is trained on, on the server's device."""
        return self.parts.central_set()

    def advance(self, server_round: int, population: Population, answers: Answers, outcome: RoundOutcome) -> Population:
        """Train every prototype for an epoch; one that isn't finite any more is kept as it was."""
        with timed(outcome, "train"):
            return {p: self._epoch(server_round, p, weights, outcome) for p, weights in population.items()}

    def _epoch(self, server_round: int, prototype: Prototype, weights: Weights, outcome: RoundOutcome) -> Weights:
        model = self.parts.models[prototype]
        weights.unbounded().load_into(model)
        loss = train_epoch(self.config, model, self.data, prototype, server_round)
        outcome.facts[fact_name("central.loss", prototype)] = loss
        trained = Weights.of(model)
        if trained.finite:
            return trained
        outcome.notes.append("central training left the model not finite: the model was kept; lower training.lr")
        log(WARNING, "round %d: %s", server_round, outcome.notes[-1])
        return weights
