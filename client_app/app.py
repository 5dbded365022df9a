"""The ClientApp of FedCrucible: routes every message to the benign or the malicious client by role."""

from __future__ import annotations

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from client_app import benign, malicious
from client_app.memory import answer_memory
from client_app.roles import is_malicious
from client_app.session import partition_of, train_reply
from client_app.survey import answer_survey, honest_answer
from strategies.attack_memory import MEMORY
from strategies.messages import CLIENT, SURVEY

app = ClientApp()


@app.train()
def train(msg: Message, context: Context) -> Message:
    """Train as what this node is."""
    update = malicious.update if is_malicious(context) else benign.update
    return train_reply(msg, context, update)


@app.query(SURVEY)
def survey(msg: Message, context: Context) -> Message:
    """Answer a survey as what this node is."""
    return answer_survey(msg, context, malicious.survey_answer if is_malicious(context) else honest_answer)


@app.query(MEMORY)
def memory(msg: Message, context: Context) -> Message:
    """Keep and tell an attacker's memory, for checkpoints; an honest node has none and takes none."""
    return answer_memory(msg, context.state if is_malicious(context) else RecordDict())


@app.query()
def query(msg: Message, context: Context) -> Message:
    """Say which partition this node holds and, if its configuration fixes one, its role (for detection figures)."""
    answer = ConfigRecord({"partition-id": partition_of(context)})
    if context.node_config.get("role", "by-seed") != "by-seed":
        answer["role"] = str(context.node_config["role"])
    return Message(RecordDict({CLIENT: answer}), reply_to=msg)
