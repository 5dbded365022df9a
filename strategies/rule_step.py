"""One aggregation: replies into updates, the rule with what the server knows, and the model that follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from defenses.base import Aggregate, AggregationRule
from defenses.updates import ClientUpdates, ServerView
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.rng import torch_generator
from fedcrucible_core.learning.tasks import task_of
from fedcrucible_core.learning.vector import buffer_slots, parameter_slots
from fedcrucible_core.learning.weights import Weights
from strategies.buffers import aggregate_buffers
from strategies.parts import Parts
from strategies.population import Prototype, State, owner_of
from strategies.replies import Reply
from strategies.root_training import root_update
from strategies.sampling import assumed_malicious

FAILURES = (ValueError, ArithmeticError, RuntimeError)
"""What a rule may fail with, e.g. a decomposition that diverges; the model is kept then."""


@dataclass(frozen=True)
class Group:
    """The clients of one prototype in one round, as its rule sees them."""

    parts: Parts
    """What the server has, as if this prototype were the only one."""
    prototype: Prototype
    sent: Weights
    round: int
    replies: list[Reply]
    """In partition order."""
    clients: int
    """Clients of the whole run that have this prototype."""
    sampled: int
    """Clients that were to be asked."""
    root: Labeled | None
    excluded: frozenset[int] = frozenset()
    """Partitions that were left out of the round."""
    keep: Callable[[ClientUpdates], None] | None = None
    """Is shown the updates before the rule judges them."""


def aggregate_replies(group: Group, rule: AggregationRule, state: State) -> tuple[Aggregate, Weights]:
    """What a rule makes of a group's replies, and the weights that were sent moved by it, buffers included.

    Raises:
        FAILURES: the rule can't work with these replies, or its aggregate isn't finite; nothing has changed then.
    """
    parts, sent, replies = group.parts, group.sent, group.replies
    if len(replies) < rule.min_clients:
        raise ValueError(f"{rule.name} needs {rule.min_clients} clients, {len(replies)} replied")
    w_t = sent.parameters
    matrix = torch.empty(len(replies), w_t.numel())
    for row, reply in zip(matrix, replies, strict=True):
        torch.sub(reply.weights.parameters, w_t, out=row)
    updates = ClientUpdates(
        w_t,
        matrix,
        torch.tensor([reply.num_examples for reply in replies], dtype=torch.float64),
        [reply.partition for reply in replies],
        group.round,
        torch_generator(parts.config.run.seed, owner_of("rule", group.prototype), group.round),
        state,
        _server_view(group),
    )
    if group.keep is not None:
        group.keep(updates)
    result = rule.aggregate(updates)
    parameters = w_t + result.delta
    if not bool(torch.isfinite(parameters).all()):
        raise FloatingPointError("the aggregate is not finite")
    buffers = torch.stack([reply.weights.buffers for reply in replies])
    merged = aggregate_buffers(
        sent.buffers, buffers, result.weights, buffer_slots(parts.model), parts.config.federation.buffers
    )
    return result, Weights(parameters, merged)


def _server_view(group: Group) -> ServerView:
    parts = group.parts
    group.sent.load_into(parts.model)
    config = parts.config
    return ServerView(
        slots=parameter_slots(parts.model),
        clients=group.clients,
        sampled=group.sampled,
        rounds=config.run.rounds,
        assumed_malicious=assumed_malicious(
            config, len(parts.malicious - group.excluded), len(group.replies), len(group.excluded)
        ),
        scratch=parts.model,
        task=task_of(parts.info),
        output=parts.model.output,
        train_root=None if group.root is None else partial(_train_root, group, group.root),
    )


def _train_root(group: Group, root: Labeled, client_images: int) -> Tensor:
    parts, run = group.parts, group.parts.config.run
    rng = torch_generator(run.seed, owner_of("root", group.prototype), group.round)
    return root_update(parts.model, group.sent, root, parts.config.training, rng, run.precision, client_images)
