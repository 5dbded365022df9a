"""A server's rule as an attacker simulates it before it uploads (docs/choices.md#adaptive-layers).

It stands in this room because attacks may know no defence; the client hands them its verdict.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from defenses.base import RULES
from defenses.updates import ClientUpdates, ServerView
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.extras import require
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.rng import torch_generator
from fedcrucible_core.learning.tasks import Task
from fedcrucible_core.learning.vector import parameter_slots
from strategies.rule_step import FAILURES
from strategies.sampling import assumed_malicious
from strategies.systems import assemble


def accepted_updates(
    config: RunConfigBase,
    rule: str,
    w_t: Tensor,
    updates: Tensor,
    *,
    round: int,
    participants: int,
    malicious: int,
    scratch: SplitModel,
    task: Task,
) -> Tensor | None:
    """Which rows of ``updates [k, d]`` a rule gives weight, bool ``[k]``; None where it can't judge them.

    ``rule`` is a registered rule, with this configuration's parameters, or ``server`` for the run's own.  Every client
    claims as many examples; the rule starts without memory, and without a root set, which only the server has.  It
    assumes as many attackers as in a real round, in proportion: ``malicious`` clients are in the federation, and
    ``participants`` are sampled.  ``scratch`` holds ``w_t``.

    Raises ConfigError where this node was installed without the server's packages.
    """
    require("server")
    chosen = assemble(config).rule if rule == "server" else RULES.built(config, rule)
    n = len(updates)
    if chosen is None or n < chosen.min_clients:
        return None
    assumed = assumed_malicious(config, malicious, participants)
    view = ServerView(
        slots=parameter_slots(scratch),
        clients=config.federation.clients,
        sampled=n,
        rounds=config.run.rounds,
        assumed_malicious=math.ceil(assumed * n / participants),
        scratch=scratch,
        task=task,
        output=scratch.output,
    )
    rng = torch_generator(config.run.seed, "simulated-rule", round)
    examples = torch.ones(n, dtype=torch.float64)
    try:
        result = chosen.aggregate(ClientUpdates(w_t, updates, examples, range(n), round, rng, {}, view))
    except FAILURES:
        return None
    return result.weights > 0
