"""The malicious client: trains on poisoned data and crafts its upload, in the rounds of the attack's schedule."""

from __future__ import annotations

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from attacks.base import Attack, CraftContext
from attacks.schedule import is_attack_round
from client_app import benign
from client_app.local_data import clean_data, poisoned_data
from client_app.roles import attacker_number
from client_app.session import LocalUpdate, Session, train_reply
from learning.rng import torch_generator
from learning.vector import parameter_slots

app = ClientApp()


def update(session: Session) -> LocalUpdate:
    """Poisoned local training, then the attack's craft; honest training while the attack rests."""
    config = session.config
    if not is_attack_round(config.attack, session.round):
        return benign.update(session)
    attack = config.component("attack", config.attack.name)
    assert isinstance(attack, Attack)
    part = attacker_number(config, session.partition)
    w_benign = None
    if attack.needs_benign_model:
        clean = clean_data(config, session.partition, session.device)
        w_benign = session.fit(clean, "train")[0].parameters
    data = poisoned_data(config, attack, session.partition, part, session.device)
    trained, result = session.fit(data, "train")
    context = CraftContext(
        round=session.round,
        partition=session.partition,
        num_participants=session.participants,
        slots=parameter_slots(session.model),
        rng=torch_generator(config.run.seed, "craft", session.round, session.partition),
    )
    upload = attack.craft(session.received.parameters, w_benign, trained.parameters, context)
    return LocalUpdate(upload, trained.buffers, len(data.labels), result.loss)


@app.train()
def train(msg: Message, context: Context) -> Message:
    """Answer a training message."""
    return train_reply(msg, context, update)
