"""The honest client: trains on its own data."""

from __future__ import annotations

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from client_app.confidential import keep_confidential
from client_app.honest_data import honest_data
from client_app.node_log import node_log
from client_app.session import Session, train_reply
from client_app.survey import answer_survey, honest_answer
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.learning.training import LocalTraining
from fedcrucible_core.learning.training import train as train_plainly
from fedcrucible_core.learning.weights import LocalUpdate
from strategies.survey_messages import SURVEY

app = ClientApp(mods=[keep_confidential, node_log])  # the log lies at the node: it tells causes in full


def update(session: Session) -> LocalUpdate:
    """Local training on the client's own data, in the way that the run's rule asks of clients."""
    held = honest_data(
        session.config, session.partition, session.device, session.state,
        own=session.own, info=session.info, by_seed=session.by_seed,
    )  # fmt: skip
    trained = session.fit(held.data, "train", _asked_for(session.config) or train_plainly)
    return LocalUpdate(trained.weights, len(held.data.labels), trained.loss, sanitized=held.sanitized)


def _asked_for(config: RunConfigBase) -> LocalTraining | None:
    """How the run's rule wants honest clients to train; None = plainly."""
    from strategies.systems import assemble  # knows every defence: not before something runs

    return assemble(config).rule_needs.training


@app.train()
def train(msg: Message, context: Context) -> Message:
    """Answer a training message."""
    return train_reply(msg, context, update)


@app.query(SURVEY)
def survey(msg: Message, context: Context) -> Message:
    """Answer a survey truthfully."""
    return answer_survey(msg, context, honest_answer)
