"""One server phase: the purifier at work on the model of each prototype."""

from __future__ import annotations

from logging import WARNING

from flwr.common.logger import log

from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.learning.rng import torch_generator
from fedcrucible_core.learning.weights import Weights
from strategies.outcome import RoundOutcome
from strategies.parts import Parts
from strategies.population import Population, Prototype, Standing, fact_name, owner_of
from strategies.server_phase import ServerPhase


def purified(
    phase: ServerPhase,
    parts: Parts,
    standing: Standing,
    population: Population,
    server_round: int,
    outcome: RoundOutcome,
) -> Population:
    """The population after the server phase; a model that would not be finite is kept as it was, with a note.

    What the purifier remembers of each prototype goes to ``standing``, diagnostics to ``outcome``.
    """

    def one(prototype: Prototype, weights: Weights) -> Weights:
        model, owner = parts.models[prototype], owner_of("purifier", prototype)
        weights.load_into(model)
        rng = torch_generator(parts.config.run.seed, owner_of("purify", prototype), server_round)
        try:
            result = phase.run(model, rng, dict(standing.states[owner]))
        except FloatingPointError as error:
            outcome.notes.append(f"server phase discarded: {plain_text(error)}")
            log(WARNING, "round %d: %s", server_round, outcome.notes[-1])
            return weights
        standing.states[owner] = result.state
        outcome.facts |= {fact_name(f"purifier.{key}", prototype): value for key, value in result.facts.items()}
        return Weights.of(model)

    return {prototype: one(prototype, weights) for prototype, weights in population.items()}
