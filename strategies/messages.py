"""What the server sends: the model to train, with the round's facts, and the question which partition a node holds."""

from __future__ import annotations

import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, RecordDict
from torch import Tensor

from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.weights import Weights
from strategies.arrays import values_of
from strategies.payloads import FLOAT32, Payload
from strategies.records import record_in
from strategies.task_facts import TASK, task_record

MODEL, ROUND, METRICS, CLIENT = "model", "round", "metrics", "client"
ATTACKED = "attacked"
"""Metric of a malicious client in a round of the attack: 0 where its upload is honest work all the same."""
SANITIZED = "sanitized."
"""Begins the names of metrics on what ``client.sanitizer`` did to the client's own data."""
PARAMETERS, BUFFERS = "parameters", "buffers"
BOUNDS = "bounds."
"""Begins the names of bounds on activations; the module's name follows."""


def to_arrays(weights: Weights) -> ArrayRecord:
    """Two large arrays travel faster than hundreds of small ones; bounds, where there are any, come with them."""
    vectors = {PARAMETERS: weights.parameters, BUFFERS: weights.buffers}
    vectors |= {f"{BOUNDS}{module}": bound for module, bound in weights.bounds.items()}
    return ArrayRecord({name: Array(vector.numpy()) for name, vector in vectors.items()})


def from_arrays(arrays: ArrayRecord) -> Weights:
    """The model in an ArrayRecord, copied to aligned memory (alignment can change the last bit of a product)."""
    bounds = {key.removeprefix(BOUNDS): _tensor(array) for key, array in arrays.items() if key.startswith(BOUNDS)}
    return Weights(_tensor(arrays[PARAMETERS]), _tensor(arrays[BUFFERS]), bounds)


def _tensor(array: Array) -> Tensor:
    return torch.tensor(values_of(array), dtype=torch.float32)


def with_task(content: dict[str, ArrayRecord | ConfigRecord], info: DataInfo | None) -> RecordDict:
    """Content of a message, and the facts of the server's data set where ``info`` has them."""
    return RecordDict({**content} if info is None else {**content, TASK: task_record(info)})


def train_content(
    model: Weights, round: int, participants: int, info: DataInfo | None = None, payload: Payload = FLOAT32
) -> RecordDict:
    """Content of a training message; shared by all messages of a round. ``info``: facts of the server's data set."""
    order = ConfigRecord({"round": round, "participants": participants})
    return with_task({MODEL: to_arrays(payload.sent(model)), ROUND: order}, info)


def read_train(content: RecordDict) -> tuple[Weights, int, int]:
    """What a client reads in a training message: global model, round, number of participants."""
    order = record_in(content, ROUND, ConfigRecord)
    return from_arrays(record_in(content, MODEL, ArrayRecord)), whole(order["round"]), whole(order["participants"])


def whole(value: object) -> int:
    """A whole number of a message. Raises TypeError for anything else."""
    if not isinstance(value, int):
        raise TypeError(f"expected a whole number, got {value!r}")
    return value


def query_message(node_id: int, info: DataInfo | None = None) -> Message:
    """Asks a node for its partition and role, and whether its data fit the server's, whose facts are ``info``."""
    return Message(content=with_task({}, info), message_type=MessageType.QUERY, dst_node_id=node_id)
