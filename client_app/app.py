"""The ClientApp of FedCrucible: routes every message to the benign or the malicious client by role."""

from __future__ import annotations

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from client_app import benign, malicious
from client_app.confidential import keep_confidential
from client_app.evaluation import answer_evaluate, asr_allowed
from client_app.memory import answer_memory
from client_app.node_log import node_log
from client_app.rehearsal import rehearsed
from client_app.roles import declared_role, is_malicious
from client_app.session import own_info, partition_of, run_config, train_reply
from client_app.survey import answer_survey, honest_answer
from strategies.memory_messages import MEMORY
from strategies.messages import CLIENT
from strategies.survey_messages import SURVEY
from strategies.task_facts import read_task

app = ClientApp(mods=[keep_confidential, node_log])  # the log lies at the node: it tells causes in full


@app.train()
def train(msg: Message, context: Context) -> Message:
    """Train as what this node is."""
    update = malicious.update if is_malicious(context) else benign.update
    return rehearsed(msg, context, lambda: train_reply(msg, context, update))


@app.evaluate()
def evaluate(msg: Message, context: Context) -> Message:
    """Measure the model on this node's own test share."""
    return answer_evaluate(msg, context)


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
    """Say which partition this node holds and, if its configuration fixes one, its role (for detection figures).

    A node that couldn't train says why instead: its role, its other settings, its data, or how they differ from the
    server's.
    """
    partition, role, config = partition_of(context), declared_role(context), run_config(context)
    asr_allowed(context)  # refuses a value that is none, before the first round
    answer = ConfigRecord({"partition-id": partition})
    if 0 <= partition < config.federation.clients:  # the server refuses others, whatever their data
        answer["own-data"] = own_info(context, config, read_task(msg.content)) is not None
    if role != "by-seed":
        answer["role"] = role
    return Message(RecordDict({CLIENT: answer}), reply_to=msg)
