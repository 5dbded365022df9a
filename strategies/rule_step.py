"""One aggregation: replies into updates, the rule with what the server knows, and the model that follows."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from defenses.base import Aggregate, State
from defenses.updates import ClientUpdates, ServerView
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.rng import torch_generator
from fedcrucible_core.learning.tasks import task_of
from fedcrucible_core.learning.vector import buffer_slots, parameter_slots
from strategies.buffers import aggregate_buffers
from strategies.messages import GlobalModel, Reply
from strategies.nodes import assumed_malicious, participants_per_round
from strategies.parts import Parts
from strategies.root_training import root_update

FAILURES = (ValueError, ArithmeticError, RuntimeError)
"""What a rule may fail with, e.g. a decomposition that diverges; the model is kept then."""


def aggregate_replies(
    parts: Parts, root: Labeled | None, sent: GlobalModel, server_round: int, replies: list[Reply], state: State
) -> tuple[Aggregate, GlobalModel]:
    """What the rule makes of ``replies`` to the model ``sent``, and that model moved by it, buffers included.

    Raises:
        FAILURES: the rule can't work with these replies, or its aggregate isn't finite; nothing has changed then.
    """
    w_t, rule = sent.parameters, parts.system.rule
    if len(replies) < rule.min_clients:
        raise ValueError(f"{rule.name} needs {rule.min_clients} clients, {len(replies)} replied")
    matrix = torch.empty(len(replies), w_t.numel())
    for row, reply in zip(matrix, replies, strict=True):
        torch.sub(reply.parameters, w_t, out=row)
    updates = ClientUpdates(
        w_t,
        matrix,
        torch.tensor([reply.num_examples for reply in replies], dtype=torch.float64),
        [reply.partition for reply in replies],
        server_round,
        torch_generator(parts.config.run.seed, "rule", server_round),
        state,
        _server_view(parts, root, sent, server_round, len(replies)),
    )
    result = rule.aggregate(updates)
    parameters = w_t + result.delta
    if not bool(torch.isfinite(parameters).all()):
        raise FloatingPointError("the aggregate is not finite")
    buffers = torch.stack([reply.buffers for reply in replies])
    merged = aggregate_buffers(
        sent.buffers, buffers, result.weights, buffer_slots(parts.model), parts.config.federation.buffers
    )
    return result, GlobalModel(parameters, merged)


def _server_view(
    parts: Parts, root: Labeled | None, sent: GlobalModel, server_round: int, participants: int
) -> ServerView:
    sent.load_into(parts.model)
    config = parts.config
    return ServerView(
        slots=parameter_slots(parts.model),
        clients=config.federation.clients,
        sampled=participants_per_round(config.federation),
        rounds=config.run.rounds,
        assumed_malicious=assumed_malicious(config, len(parts.malicious), participants),
        scratch=parts.model,
        task=task_of(parts.info),
        output=parts.model.output,
        train_root=None if root is None else partial(_train_root, parts, root, sent, server_round),
    )


def _train_root(parts: Parts, root: Labeled, sent: GlobalModel, server_round: int, client_images: int) -> Tensor:
    run = parts.config.run
    rng = torch_generator(run.seed, "root", server_round)
    return root_update(parts.model, sent, root, parts.config.training, rng, run.precision, client_images)
