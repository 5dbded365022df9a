"""The repair of an app's final model, with what its server has."""

from __future__ import annotations

from typing import cast

from flwr.app import ArrayRecord

from defenses.base import Repair, RepairContext, Suspects
from fedcrucible.flower.server_side import ServerSide
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.rng import torch_generator
from strategies.outcome import RoundOutcome
from strategies.repair_step import accuracy_of, attempted
from strategies.timing import timed


def repaired(side: ServerSide, repair: Repair, arrays: ArrayRecord, outcome: RoundOutcome) -> ArrayRecord:
    """What the repair makes of the arrays; they themselves, with a note, where it fails or isn't finite."""
    server = side.model
    assert server is not None, "a repair was given a model"
    server.load(arrays)
    model = cast(SplitModel, server.module)
    with timed(outcome, "server"):
        facts = attempted(repair, model, outcome, lambda: _context(side, repair, model, outcome.round))
    if facts is None:
        return arrays
    outcome.facts |= {f"repair.{name}": value for name, value in facts.items()}
    outcome.model = "changed"
    return server.arrays(arrays)


def _context(side: ServerSide, repair: Repair, model: SplitModel, round: int) -> RepairContext:
    needs, config, server = repair.needs, side.defence.config, side.model
    assert server is not None, "a repair was given a model"
    images = side.given.server_images is not None
    data = side.data if images else None
    guided = needs.guide and data is not None
    guide = side.targets if guided else None
    suspects = None
    if needs.suspects and data is not None:
        suspects = Suspects(data.originals.to(side.device), None, guide)
    clean = None
    if needs.clean is not None:
        own = side.given.root if needs.clean.kind == "validation" else data.originals if data is not None else None
        clean = None if own is None else side.drawn(own, needs.clean.samples, "clean")
    return RepairContext(
        info=side.info,
        rng=torch_generator(config.run.seed, "repair", round),
        device=side.device,
        data=data,
        accuracy=None if data is None else accuracy_of(model, data.originals, config.run.eval_batch_size),
        guide=guide,
        suspects=suspects,
        clean=clean,
        untrained=lambda seed: cast(SplitModel, server.untrained(seed)),
        training=config.training,
    )
