"""A client's answer to an evaluate message: what the model is worth on a test share of its own."""

from __future__ import annotations

from functools import lru_cache

from flwr.app import Context, Message

from attacks.adversary import Adversary
from attacks.evaluation import has_inputs
from attacks.preparation import measured_context
from attacks.task import AttackTask
from client_app import benign
from client_app.local_data import local_share, local_splits
from client_app.session import Session, opened
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.evaluation import predict
from fedcrucible_core.learning.weights import Weights
from strategies.evaluate_messages import ClientRates, evaluate_reply

KEY = "measure-asr"
"""Of a node's own configuration."""


def answer_evaluate(msg: Message, context: Context) -> Message:
    """MA on the client's own test data; ASR on their triggered form, or on that of the run's evaluation split.

    ASR only where the site allows it (:func:`asr_allowed`).  Measured is the model that came, or what honest local
    training makes of it (``federation.evaluate_model``).  A malicious client measures as others do: its answer touches
    no model. Raises ValueError without test data.
    """
    with opened(msg, context) as session:
        rates = measure(session, asr=asr_allowed(context))
    return Message(evaluate_reply(rates, session.partition), reply_to=msg)


def asr_allowed(context: Context) -> bool:
    """Whether attack success may be measured here: the node's own word (``measure-asr``), never the run's.

    Without one a node with own data allows it to nobody, for triggers are put on its data; one that holds a share of
    the run's common data does. Raises ConfigError for a value that is no truth value.
    """
    own = context.node_config.get("own-data", False) is True
    allowed = context.node_config.get(KEY, not own)
    if not isinstance(allowed, bool):
        raise ConfigError(f"node-config {KEY}", allowed, "allowed: true, false")
    return allowed


def measure(session: Session, *, asr: bool = True) -> ClientRates:
    """The rates of one client; ``asr``: whether attack success may be measured here."""
    config, partition, own = session.config, session.partition, session.own
    test = local_splits(config, own).train.subset(local_share(config, partition, own).test)
    if not len(test):
        raise ValueError(f"client {partition} has no test data: partition.test_fraction")
    common = config.federation.evaluate_triggered == "common"
    hidden = config.federation.blind  # an attacker alone would know the trigger
    triggered = None if hidden or not asr else _common(config) if common else _triggered(config, test, own)
    session.load(_measured_model(session))
    batch, target = config.run.eval_batch_size, config.poison.target_label
    right = predict(session.model, test.inputs, batch, session.device) == test.labels
    hits = None if triggered is None else predict(session.model, triggered.inputs, batch, session.device) == target
    return ClientRates(
        examples=len(test),
        ma_percent=100.0 * float(right.double().mean()),
        asr_percent=None if hits is None else 100.0 * float(hits.double().mean()),
        asr_allowed=asr,
    )


def _measured_model(session: Session) -> Weights:
    if session.config.federation.evaluate_model == "received":
        return session.received
    return benign.update(session).weights


@lru_cache(maxsize=2)
def _common(config: RunConfigBase) -> Labeled | None:
    """The triggered form of the run's evaluation split, the same for every client."""
    return _triggered(config, local_splits(config).measured(config.task.eval_split), None)


def _triggered(config: RunConfigBase, test: Labeled, own: DataInfo | None) -> Labeled | None:
    """The triggered form of test data; None where the attack has none to show on them."""
    poisoner = Adversary.of(config).poisoner
    task = AttackTask.of(config, local_splits(config, own))
    if not poisoner.targeted or not has_inputs(poisoner, test, task):
        return None
    if poisoner.held_out(task) is not None and config.federation.evaluate_triggered == "own":
        return None
    return poisoner.attacked(test, measured_context(config, poisoner, task))
