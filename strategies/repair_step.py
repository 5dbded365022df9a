"""After the last round: what clients are asked about the final model, and what the repair makes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from logging import WARNING

import torch
from flwr.app import Message
from flwr.common.logger import log
from flwr.serverapp import Grid
from torch import Tensor

from defenses.base import Repair, RepairContext
from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.evaluation import predict
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.rng import torch_generator
from fedcrucible_core.learning.survey import Survey
from fedcrucible_core.learning.weights import Weights
from strategies.outcome import Measured, RoundOutcome
from strategies.parts import Parts, RepairInputs
from strategies.population import Population, Prototype, fact_name, owner_of
from strategies.replies import read_all
from strategies.roster import Roster
from strategies.server_phase import ServerPhase
from strategies.survey_messages import SURVEY_TYPE, read_survey_answer, survey_content
from strategies.timing import timed

UNREPAIRABLE = (ValueError, ArithmeticError)
"""What a repair may fail with; the model is kept then."""


def begin_repair(after: int, before: Measured) -> RoundOutcome:
    """The outcome of the repair after round ``after``, with the rates of the model that is to be repaired."""
    outcome = RoundOutcome(after + 1, stage="repair")
    outcome.facts["repair.ma_before_percent"] = before.clean.accuracy
    if before.attack is not None:
        outcome.facts["repair.asr_before_percent"] = before.attack.asr
    return outcome


def question(parts: Parts, model: Weights) -> Survey | None:
    """What the repair asks clients about the final model; None = nothing."""
    ask = parts.system.repair_needs.survey
    if ask is None:
        return None
    model.load_into(parts.model)
    return ask(parts.model, parts.info)


class RepairStage:
    """The system's repair at work on the final models, after a survey of the clients where it asks for one."""

    def __init__(self, parts: Parts, roster: Roster, phase: ServerPhase | None) -> None:
        self.parts = parts
        self.roster = roster
        self.phase = phase

    def run(self, population: Population, outcome: RoundOutcome, grid: Grid, timeout: float) -> Population:
        """The repaired population; what a repair fails with is noted, and the model kept."""
        asked = {p: question(self.parts.of(p), weights) for p, weights in population.items()}
        surveys = {p: survey for p, survey in asked.items() if survey is not None}
        if not surveys:
            return {p: self._repaired(p, weights, None, outcome) for p, weights in population.items()}
        answers = self._survey(population, surveys, outcome, grid, timeout)
        count, needed = sum(map(len, answers.values())), self.parts.config.federation.min_replies
        if count < needed:
            outcome.notes.append(f"{count} valid answers, {needed} needed: the model was kept")
            return population
        return {p: self._judged(p, weights, answers[p], outcome) for p, weights in population.items()}

    def _judged(self, prototype: Prototype, weights: Weights, answers: list[Tensor], outcome: RoundOutcome) -> Weights:
        """What becomes of a prototype's model by its own clients' answers; without any it is kept."""
        if not answers:
            outcome.notes.append(f"no client of {prototype} answered: its model was kept")
            return weights
        return self._repaired(prototype, weights, torch.stack(answers), outcome)

    def _repaired(
        self, prototype: Prototype, weights: Weights, answers: Tensor | None, outcome: RoundOutcome
    ) -> Weights:
        with timed(outcome, "server"):
            return repaired(self.parts, prototype, self.phase, weights, answers, outcome)

    def _survey(
        self,
        population: Population,
        surveys: Mapping[Prototype, Survey],
        outcome: RoundOutcome,
        grid: Grid,
        timeout: float,
    ) -> dict[Prototype, list[Tensor]]:
        """The valid answers of each prototype's own clients to the survey about it, in partition order."""

        def of(partition: int) -> Prototype:
            return self.parts.system.kind.prototype_of(self.parts.config, partition)

        with timed(outcome, "sample"):
            everyone = all(survey.everyone for survey in surveys.values())
            nodes = self.roster.online(grid) if everyone else self.roster.participants(outcome.round, grid)
            outcome.participants = [node.partition for node in nodes]
            outcome.malicious = self.roster.malicious_among(nodes)
            contents = {
                p: survey_content(population[p], outcome.round, survey, self.parts.info)
                for p, survey in surveys.items()
            }
            messages = [
                Message(content=contents[of(node.partition)], message_type=SURVEY_TYPE, dst_node_id=node.node_id)
                for node in nodes
            ]
        outcome.bytes_down = sum(population[of(node.partition)].nbytes for node in nodes)
        with timed(outcome, "train"):
            replies = self.roster.send(grid, messages, timeout)
        with timed(outcome, "validate"):
            valid, outcome.dropped = read_all(
                replies.of_nodes(nodes),
                lambda reply, partition: read_survey_answer(reply, partition, surveys[of(partition)]),
                outcome.round,
            )
        outcome.valid = list(valid)
        outcome.bytes_up = sum(8 * surveys[of(partition)].channels for partition in valid)
        return {p: [answer for partition, answer in valid.items() if of(partition) == p] for p in population}


def repaired(
    all_parts: Parts,
    prototype: Prototype,
    phase: ServerPhase | None,
    model: Weights,
    answers: Tensor | None,
    outcome: RoundOutcome,
) -> Weights:
    """What the repair makes of a prototype's ``model``; that itself, with a note, where it fails or isn't finite.

    ``answers`` int64 ``[m, channels]`` are those to the survey, None where nothing was asked.
    """
    parts, repair = all_parts.of(prototype), all_parts.system.repair
    assert repair is not None

    def prepare() -> RepairContext:
        given = parts.repair_inputs(prototype)
        outcome.split = given.judged
        outcome.notes += given.notes
        outcome.facts |= {fact_name(f"repair.{key}", prototype): value for key, value in given.facts.items()}
        model.load_into(parts.model)
        return context_of(parts, prototype, phase, outcome.round, answers, given)

    facts = attempted(repair, parts.model, outcome, prepare)
    if facts is None:
        return model
    outcome.facts |= {fact_name(f"repair.{key}", prototype): value for key, value in facts.items()}
    return Weights.of(parts.model)


def attempted(
    repair: Repair, model: SplitModel, outcome: RoundOutcome, prepare: Callable[[], RepairContext]
) -> Mapping[str, float] | None:
    """What a repair says of its work on ``model``, in place; None, with a note, where it fails or leaves it not finite.

    ``prepare`` makes the context; what that fails with is the repair's failure too.
    """
    try:
        context = prepare()
        facts = repair.repair(model, context)
        for name, tensor in model.state_dict().items():
            if not bool(torch.isfinite(tensor).all()):
                raise FloatingPointError(f"it left {name} not finite")
    except UNREPAIRABLE as error:
        outcome.notes.append(f"repair {repair.name!r} failed ({plain_text(error)}): the model was kept")
        log(WARNING, "%s", outcome.notes[-1])
        return None
    return facts


def context_of(
    parts: Parts,
    prototype: Prototype,
    phase: ServerPhase | None,
    server_round: int,
    answers: Tensor | None,
    given: RepairInputs,
) -> RepairContext:
    """What a prototype's repair is told after round ``server_round``, beside the model."""
    needs = parts.system.repair_needs
    data, guide = None, None
    guided = needs.guide and not needs.suspects
    if needs.server_images or guided:
        data = phase.data if phase is not None else parts.server_data()
    if guided and data is not None:
        has = phase is not None and phase.targets is not None
        guide = phase.targets if phase is not None and has else parts.guide_targets(data)
    return RepairContext(
        info=parts.info,
        rng=torch_generator(parts.config.run.seed, owner_of("repair", prototype), server_round),
        device=next(parts.model.parameters()).device,
        answers=answers,
        data=data,
        accuracy=None if data is None else accuracy_of(parts.model, data.originals, parts.config.run.eval_batch_size),
        guide=guide,
        suspects=given.suspects,
        clean=given.clean,
        untrained=given.untrained,
        training=parts.config.training,
    )


def accuracy_of(model: SplitModel, data: Labeled, batch: int) -> Callable[[], float]:
    """Measures the accuracy, in percent, that the model has on ``data`` whenever it is called."""
    device = next(model.parameters()).device

    def accuracy() -> float:
        right = predict(model, data.inputs, batch, device) == data.labels
        return 100.0 * float(right.double().mean())

    return accuracy
