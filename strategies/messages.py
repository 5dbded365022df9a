"""What travels between server and clients, and what the server accepts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from torch import Tensor

MODEL, ROUND, METRICS, CLIENT = "model", "round", "metrics", "client"
PARAMETERS, BUFFERS = "parameters", "buffers"
MAX_CAUSE = 200
"""Characters of a client's error text that are kept."""


@dataclass(frozen=True)
class GlobalModel:
    """The global model on its way: flat float32 parameters ``[d]`` and buffers ``[b]``, on the CPU."""

    parameters: Tensor
    buffers: Tensor

    @property
    def nbytes(self) -> int:
        """Bytes of the two vectors."""
        return 4 * (self.parameters.numel() + self.buffers.numel())


def to_arrays(model: GlobalModel) -> ArrayRecord:
    """Two large arrays travel faster than hundreds of small ones."""
    return ArrayRecord({PARAMETERS: Array(model.parameters.numpy()), BUFFERS: Array(model.buffers.numpy())})


def from_arrays(arrays: ArrayRecord) -> GlobalModel:
    """The model in an ArrayRecord, copied to aligned memory (alignment can change the last bit of a product)."""
    return GlobalModel(_tensor(arrays[PARAMETERS]), _tensor(arrays[BUFFERS]))


def _tensor(array: Array) -> Tensor:
    return torch.tensor(array.numpy(), dtype=torch.float32)


def train_content(model: GlobalModel, round: int, participants: int) -> RecordDict:
    """Content of a training message; shared by all messages of a round."""
    return RecordDict({MODEL: to_arrays(model), ROUND: ConfigRecord({"round": round, "participants": participants})})


def read_train(content: RecordDict) -> tuple[GlobalModel, int, int]:
    """What a client reads in a training message: global model, round, number of participants."""
    order = content.config_records[ROUND]
    return from_arrays(content.array_records[MODEL]), _whole(order["round"]), _whole(order["participants"])


def _whole(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"expected a whole number, got {value!r}")
    return value


def query_message(node_id: int) -> Message:
    """Asks a node for its partition and role."""
    return Message(content=RecordDict(), message_type=MessageType.QUERY, dst_node_id=node_id)


@dataclass(frozen=True)
class Reply:
    """A valid reply of one client."""

    partition: int
    parameters: Tensor
    buffers: Tensor
    num_examples: int
    loss: float
    seconds: float


class InvalidReplyError(ValueError):
    """A reply that can't be used; the text is the cause that is counted and shown."""


def read_reply(message: Message | Exception | None, partition: int, expected: GlobalModel, max_examples: int) -> Reply:
    """Check one reply completely: error, records, keys, types, shapes, finite values, claimed examples.

    Raises InvalidReplyError; whatever a client sends, nothing else escapes.
    """
    if message is None:
        raise InvalidReplyError("no reply in time")
    if isinstance(message, Exception):
        raise InvalidReplyError(f"could not be fetched: {type(message).__name__}: {message}"[:MAX_CAUSE])
    if message.has_error():
        reason = " ".join(str(message.error.reason).split())[-MAX_CAUSE:]
        raise InvalidReplyError(f"error {message.error.code}: {reason}")
    try:
        return _read(message.content, partition, expected, max_examples)
    except InvalidReplyError:
        raise
    except Exception as error:
        raise InvalidReplyError(f"unreadable: {type(error).__name__}: {error}"[:MAX_CAUSE]) from error


def _read(content: RecordDict, partition: int, expected: GlobalModel, max_examples: int) -> Reply:
    kinds = {MODEL: ArrayRecord, METRICS: MetricRecord, CLIENT: ConfigRecord}
    for key, kind in kinds.items():
        if key not in content:
            raise InvalidReplyError(f"record {key!r} is missing")
        if not isinstance(content[key], kind):
            raise InvalidReplyError(f"record {key!r} is a {type(content[key]).__name__}, not a {kind.__name__}")
    unexpected = sorted(set(content) - set(kinds))
    if unexpected:
        raise InvalidReplyError(f"unexpected records {unexpected}"[:MAX_CAUSE])
    claimed = content.config_records[CLIENT].get("partition-id")
    if claimed != partition:
        raise InvalidReplyError(f"claims to be partition {claimed!r}, but its node holds {partition}"[:MAX_CAUSE])
    metrics = content.metric_records[METRICS]
    examples = metrics.get("num-examples")
    if not isinstance(examples, int) or isinstance(examples, bool):
        raise InvalidReplyError(f"num-examples is {examples!r}, not a whole number"[:MAX_CAUSE])
    if not 1 <= examples <= max_examples:
        raise InvalidReplyError(f"claims {examples} examples, allowed 1 to {max_examples}")
    arrays = content.array_records[MODEL]
    if sorted(arrays) != sorted((PARAMETERS, BUFFERS)):
        raise InvalidReplyError(f"arrays {sorted(arrays)[:6]}, expected ['{BUFFERS}', '{PARAMETERS}']"[:MAX_CAUSE])
    vectors = {}
    for name, wanted in ((PARAMETERS, expected.parameters), (BUFFERS, expected.buffers)):
        vectors[name] = _vector(arrays[name], name, wanted.numel())
    return Reply(
        partition=partition,
        parameters=vectors[PARAMETERS],
        buffers=vectors[BUFFERS],
        num_examples=examples,
        loss=_number(metrics.get("train-loss")),
        seconds=_number(metrics.get("seconds")),
    )


def _vector(array: Array, name: str, length: int) -> Tensor:
    if array.dtype != "float32":
        raise InvalidReplyError(f"{name} are {array.dtype}, not float32"[:MAX_CAUSE])
    if tuple(array.shape) != (length,):
        raise InvalidReplyError(f"{name} have shape {tuple(array.shape)}, expected ({length},)"[:MAX_CAUSE])
    values = array.numpy()
    if values.shape != (length,) or values.dtype != np.float32:
        raise InvalidReplyError(f"{name} hold {values.dtype} {values.shape}, not what their header says"[:MAX_CAUSE])
    if not np.isfinite(values).all():
        raise InvalidReplyError(f"{name} hold {int((~np.isfinite(values)).sum())} values that are not finite")
    return torch.tensor(values)


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else float("nan")
