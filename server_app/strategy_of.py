"""The Flower strategy of a plan: for our own ServerApp, and for anybody's."""

from __future__ import annotations

import math
from collections.abc import Sequence

from server_app.checks import attackers
from server_app.evaluation import Evaluator
from server_app.measuring import Measure, measuring
from server_app.plan import Plan
from strategies.loop import Loop
from strategies.nodes import NodeDirectory
from strategies.outcome import Checkpoint, Observer
from strategies.parts import Parts
from strategies.progress import Progress

FAIR_SHARES = 10
"""A client may claim this many times the largest fair share of the training images (``federation.max_examples``)."""


def strategy_of(
    plan: Plan,
    *,
    in_order: bool,
    evaluate: Measure | None = None,
    observers: Sequence[Observer] = (),
    resume_from: Checkpoint | None = None,
    progress: Progress | None = None,
) -> Loop:
    """The strategy that runs a plan's system, e.g. ``strategy_of(plan, in_order=False).start(grid, ...)``.

    Args:
        in_order: whether nodes register in partition order (simulation, in-process); otherwise they are asked.
        evaluate: measures a model; None = as the plan says, on the evaluation split.
        observers: are told of every round, checkpoint and note.
        resume_from: where the run goes on; None = at its beginning.
        progress: is told how far a round is while it runs.
    """
    config = plan.config
    evaluate = evaluate or measuring(plan, Evaluator.build(config, plan.data, plan.adversary.poisoner, plan.device))
    return plan.system.kind.strategy(
        Parts(
            config=config,
            system=plan.system,
            models=plan.models(),
            nodes=NodeDirectory(
                config.federation, in_order, plan.data.info, 1 if resume_from is None else resume_from.round + 1
            ),
            malicious=frozenset(attackers(config)),
            max_examples=max_examples(plan),
            info=plan.data.info,
            evaluate=evaluate,
            server_phase=plan.server_phase,
            server_data=plan.foundation.server_data,
            guide_targets=plan.foundation.guide_targets,
            root_set=plan.root_set,
            synthetic=plan.foundation.synthetic,
            central_set=plan.central_set,
            central_facts=plan.central_facts,
            repair_inputs=plan.repair_inputs,
            planted=plan.upstream_facts() if in_order else {},
            observers=observers,
            attackers_remember=bool(plan.adversary.uploader.state_kept),
            resume_from=resume_from,
            progress=progress or Progress(),
        )
    )


def max_examples(plan: Plan) -> int:
    """Largest number of examples that the server believes."""
    chosen = plan.config.federation.max_examples
    return chosen or FAIR_SHARES * math.ceil(len(plan.data.train) / plan.config.federation.clients)
