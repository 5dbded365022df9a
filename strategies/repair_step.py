"""After the last round: what clients are asked about the final model, and what the repair makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from logging import WARNING

import torch
from flwr.app import Message
from flwr.common.logger import log
from torch import Tensor

from defenses.base import RepairContext
from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.evaluation import predict
from fedcrucible_core.learning.rng import torch_generator
from fedcrucible_core.learning.survey import Survey
from strategies.messages import SURVEY_TYPE, GlobalModel, survey_content
from strategies.nodes import Node
from strategies.outcome import Measured, RoundOutcome
from strategies.parts import Parts
from strategies.server_phase import ServerPhase

UNREPAIRABLE = (ValueError, ArithmeticError)
"""What a repair may fail with; the model is kept then."""


def begin_repair(after: int, before: Measured) -> RoundOutcome:
    """The outcome of the repair after round ``after``, with the rates of the model that is to be repaired."""
    outcome = RoundOutcome(after + 1, stage="repair")
    outcome.facts["repair.ma_before_percent"] = before.clean.accuracy
    if before.attack is not None:
        outcome.facts["repair.asr_before_percent"] = before.attack.asr
    return outcome


def question(parts: Parts, model: GlobalModel) -> Survey | None:
    """What the repair asks clients about the final model; None = nothing."""
    ask = parts.system.repair_needs.survey
    if ask is None:
        return None
    model.load_into(parts.model)
    return ask(parts.model, parts.info.image_shape)


def survey_messages(
    parts: Parts, model: GlobalModel, server_round: int, survey: Survey, nodes: Sequence[Node]
) -> list[Message]:
    """One message for every node that is asked."""
    content = survey_content(model, server_round, survey, parts.info)
    return [Message(content=content, message_type=SURVEY_TYPE, dst_node_id=node.node_id) for node in nodes]


def repaired(
    parts: Parts, phase: ServerPhase | None, model: GlobalModel, answers: Tensor | None, outcome: RoundOutcome
) -> GlobalModel:
    """What the repair makes of ``model``; ``model`` itself, with a note, where it fails or leaves NaN or infinity.

    ``answers`` int64 ``[m, channels]`` are those to the survey, None where nothing was asked.
    """
    repair = parts.system.repair
    assert repair is not None
    model.load_into(parts.model)
    try:
        facts = repair.repair(parts.model, _context(parts, phase, outcome.round, answers))
        for name, tensor in parts.model.state_dict().items():
            if not bool(torch.isfinite(tensor).all()):
                raise FloatingPointError(f"it left {name} not finite")
    except UNREPAIRABLE as error:
        outcome.notes.append(f"repair {repair.name!r} failed ({plain_text(error)}): the model was kept")
        log(WARNING, "%s", outcome.notes[-1])
        return model
    outcome.facts |= {f"repair.{key}": value for key, value in facts.items()}
    return GlobalModel.of(parts.model)


def _context(parts: Parts, phase: ServerPhase | None, server_round: int, answers: Tensor | None) -> RepairContext:
    needs = parts.system.repair_needs
    data, guide = None, None
    if needs.server_images or needs.guide:
        data = phase.data if phase is not None else parts.server_data()
    if needs.guide and data is not None:
        has = phase is not None and phase.targets is not None
        guide = phase.targets if phase is not None and has else parts.guide_targets(data)
    return RepairContext(
        info=parts.info,
        rng=torch_generator(parts.config.run.seed, "repair", server_round),
        device=next(parts.model.parameters()).device,
        answers=answers,
        data=data,
        accuracy=None if data is None else _accuracy(parts, data.originals),
        guide=guide,
    )


def _accuracy(parts: Parts, data: Labeled) -> Callable[[], float]:
    model, batch = parts.model, parts.config.run.eval_batch_size
    device = next(model.parameters()).device

    def accuracy() -> float:
        right = predict(model, data.inputs, batch, device) == data.labels
        return 100.0 * float(right.double().mean())

    return accuracy
