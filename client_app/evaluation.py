"""A client's answer to an evaluate message: what the model is worth on a test share of its own."""

from __future__ import annotations

from flwr.app import Context, Message

from attacks.adversary import Adversary
from attacks.evaluation import has_inputs
from attacks.preparation import measured_context
from attacks.task import AttackTask
from client_app.local_data import local_share, local_splits
from client_app.session import client_model, own_info, partition_of, run_config
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.device import deterministic_threads, resolve_device
from fedcrucible_core.learning.evaluation import predict
from strategies.evaluate_messages import ClientRates, evaluate_reply
from strategies.messages import read_train
from strategies.task_facts import read_task


def answer_evaluate(msg: Message, context: Context) -> Message:
    """MA on the client's own test images; ASR on the triggered form of those that an attack is about.

    A malicious client measures as others do: its answer touches no model. Raises ValueError without test images.
    """
    config, partition = run_config(context), partition_of(context)
    received, _, _ = read_train(msg.content)
    server = read_task(msg.content)
    own = own_info(context, config, server)
    device = resolve_device(config.run.device)
    test = local_splits(config, own).train.subset(local_share(config, partition, own).test)
    if not len(test):
        raise ValueError(f"client {partition} has no test images: partition.test_fraction")
    triggered = _triggered(config, test, own)
    with deterministic_threads(config.run.threads):
        model = client_model(config, partition, device, server)
        received.load_into(model)
        batch, target = config.run.eval_batch_size, config.poison.target_label
        right = predict(model, test.inputs, batch, device) == test.labels
        hits = None if triggered is None else predict(model, triggered.inputs, batch, device) == target
    rates = ClientRates(
        examples=len(test),
        ma_percent=100.0 * float(right.double().mean()),
        asr_percent=None if hits is None else 100.0 * float(hits.double().mean()),
    )
    return Message(evaluate_reply(rates, partition), reply_to=msg)


def _triggered(config: RunConfigBase, test: Labeled, own: DataInfo | None) -> Labeled | None:
    """The triggered form of the client's test images; None where the attack has none to show on them."""
    poisoner = Adversary.of(config).poisoner
    task = AttackTask.of(config, local_splits(config, own))
    if not poisoner.targeted or poisoner.held_out(task) is not None or not has_inputs(poisoner, test, task):
        return None
    return poisoner.attacked(test, measured_context(config, poisoner, task))
