"""The honest client: trains on its own clean data."""

from __future__ import annotations

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from client_app.local_data import clean_data
from client_app.session import LocalUpdate, Session, train_reply
from client_app.survey import answer_survey, honest_answer
from fedcrucible_core.learning.training import train as train_plainly
from strategies.messages import SURVEY
from strategies.systems import assemble

app = ClientApp()


def update(session: Session) -> LocalUpdate:
    """Local training on clean data, in the way that the run's rule asks of clients."""
    data = clean_data(session.config, session.partition, session.device, session.own)
    trained, result = session.fit(data, "train", assemble(session.config).rule.needs.training or train_plainly)
    return LocalUpdate(trained.parameters, trained.buffers, len(data.labels), result.loss)


@app.train()
def train(msg: Message, context: Context) -> Message:
    """Answer a training message."""
    return train_reply(msg, context, update)


@app.query(SURVEY)
def survey(msg: Message, context: Context) -> Message:
    """Answer a survey truthfully."""
    return answer_survey(msg, context, honest_answer)
