"""The honest client: trains on its own clean data."""

from __future__ import annotations

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from client_app.local_data import clean_data
from client_app.session import LocalUpdate, Session, train_reply

app = ClientApp()


def update(session: Session) -> LocalUpdate:
    """Local training on clean data."""
    data = clean_data(session.config, session.partition, session.device)
    trained, result = session.fit(data, "train")
    return LocalUpdate(trained.parameters, trained.buffers, len(data.labels), result.loss)


@app.train()
def train(msg: Message, context: Context) -> Message:
    """Answer a training message."""
    return train_reply(msg, context, update)
