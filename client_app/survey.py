"""A client's answer to a survey: which channels of the final model its images use, as an honest client holds them."""

from __future__ import annotations

from collections.abc import Callable

from flwr.app import Context, Message
from torch import Tensor

from client_app.honest_data import honest_data
from client_app.session import client_model, own_info, partition_of, run_config
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.learning.channels import mean_activations
from fedcrucible_core.learning.device import deterministic_threads, resolve_device
from fedcrucible_core.learning.survey import Survey
from strategies.survey_messages import read_survey, survey_reply
from strategies.task_facts import read_task

Answer = Callable[[RunConfigBase, int, Survey, Tensor], Tensor]
"""Configuration, round, question, mean activations ``[channels]`` on clean data: the answer int64 ``[channels]``."""


def honest_answer(_config: RunConfigBase, _round: int, survey: Survey, activations: Tensor) -> Tensor:
    """The truth."""
    return survey.answer(activations)


def answer_survey(msg: Message, context: Context, answer: Answer) -> Message:
    """Answer a survey's message with what ``answer`` makes of the activity on this client's own images."""
    config, partition = run_config(context), partition_of(context)
    received, server_round, survey = read_survey(msg.content)
    server = read_task(msg.content)
    own = own_info(context, config, server)
    device = resolve_device(config.run.device)
    with deterministic_threads(config.run.threads):
        model = client_model(config, partition, device, server)
        received.load_into(model)
        by_seed = context.node_config.get("role", "by-seed") == "by-seed"
        held = honest_data(config, partition, device, context.state, own=own, info=server, by_seed=by_seed)
        inputs, batch = held.data.inputs, config.run.eval_batch_size
        activations = mean_activations(
            model, survey.module, inputs, batch, device, survey.activation, received=survey.received
        )
    if activations.shape != (survey.channels,):
        raise ValueError(f"{survey.module} has {len(activations)} channels here, {survey.channels} were asked about")
    return Message(survey_reply(answer(config, server_round, survey, activations), partition), reply_to=msg)
