"""The malicious client: does what its attack does in the rounds of the schedule, and trains honestly in the others."""

from __future__ import annotations

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from torch import Tensor

from attacks.adversary import Adversary
from attacks.schedule import is_attack_round
from client_app import benign
from client_app.attacker import Attacker
from client_app.confidential import keep_confidential
from client_app.memory import write_memory
from client_app.node_log import node_log
from client_app.session import Session, train_reply
from client_app.survey import answer_survey
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.learning.survey import Survey
from fedcrucible_core.learning.weights import LocalUpdate
from strategies.survey_messages import SURVEY

app = ClientApp(mods=[keep_confidential, node_log])  # the log lies at the node: it tells causes in full


def update(session: Session) -> LocalUpdate:
    """The attack's upload; honest training while the attack rests."""
    config = session.config
    if not is_attack_round(config, session.round):
        return benign.update(session)
    adversary = Adversary.of(config)
    view = Attacker.of(session, adversary.poisoner)
    upload = adversary.uploader.upload(view)
    write_memory(session.state, view.memory)
    return upload


def survey_answer(config: RunConfigBase, round: int, survey: Survey, activations: Tensor) -> Tensor:
    """Call the most active channels the least active, so that a backdoor's own are kept; honest while it rests.

    The survey comes one round after the last: an attack that only begins there never happens.
    """
    active = config.adversary.start_round <= config.run.rounds and is_attack_round(config, round)
    return survey.answer(-activations if active else activations)


@app.train()
def train(msg: Message, context: Context) -> Message:
    """Answer a training message."""
    return train_reply(msg, context, update)


@app.query(SURVEY)
def survey(msg: Message, context: Context) -> Message:
    """Answer a survey with a lie while the attack is on."""
    return answer_survey(msg, context, survey_answer)
