"""What travels between server and clients, and what the server accepts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from torch import Tensor, nn

from fedcrucible_core.config.plain_text import error_text, plain_repr, plain_text, uncoloured
from fedcrucible_core.learning.channels import Activation
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.survey import Method, Survey
from fedcrucible_core.learning.vector import flatten_buffers, flatten_parameters, load_buffers, load_parameters
from strategies.task_facts import TASK, task_record

T = TypeVar("T")

MODEL, ROUND, METRICS, CLIENT, SURVEY = "model", "round", "metrics", "client", "survey"
ATTACKED = "attacked"
"""Metric of a malicious client in a round of the attack: 0 where its upload is honest work all the same."""
PARAMETERS, BUFFERS, ANSWER = "parameters", "buffers", "answer"
SURVEY_TYPE = f"{MessageType.QUERY}.{SURVEY}"
"""Message type of a survey; a ClientApp answers it with ``@app.query(SURVEY)``."""
MAX_CAUSE = 300
"""Characters of a cause that are kept: a client may choose its text, and its length."""
LONGEST_READ = 20_000
"""Characters of it that are looked at."""


@dataclass(frozen=True)
class GlobalModel:
    """The global model on its way: flat float32 parameters ``[d]`` and buffers ``[b]``, on the CPU."""

    parameters: Tensor
    buffers: Tensor

    @classmethod
    def of(cls, model: nn.Module) -> GlobalModel:
        """What a model holds now, as new vectors."""
        return cls(flatten_parameters(model), flatten_buffers(model))

    def load_into(self, model: nn.Module) -> None:
        """Write both vectors into a model, in place. Raises ValueError on a wrong length."""
        load_parameters(model, self.parameters)
        load_buffers(model, self.buffers)

    def equals(self, other: GlobalModel) -> bool:
        """Whether both vectors are the same, bit for bit but for the sign of zero."""
        return self is other or (
            torch.equal(self.parameters, other.parameters) and torch.equal(self.buffers, other.buffers)
        )

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


def _with_task(content: dict[str, ArrayRecord | ConfigRecord], info: DataInfo | None) -> RecordDict:
    return RecordDict({**content} if info is None else {**content, TASK: task_record(info)})


def train_content(model: GlobalModel, round: int, participants: int, info: DataInfo | None = None) -> RecordDict:
    """Content of a training message; shared by all messages of a round. ``info``: facts of the server's data set."""
    order = ConfigRecord({"round": round, "participants": participants})
    return _with_task({MODEL: to_arrays(model), ROUND: order}, info)


def read_train(content: RecordDict) -> tuple[GlobalModel, int, int]:
    """What a client reads in a training message: global model, round, number of participants."""
    order = content.config_records[ROUND]
    return from_arrays(content.array_records[MODEL]), _whole(order["round"]), _whole(order["participants"])


def _whole(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"expected a whole number, got {value!r}")
    return value


def survey_content(model: GlobalModel, round: int, survey: Survey, info: DataInfo | None = None) -> RecordDict:
    """Content of a survey's message: the final model, and what is asked about it; ``info`` as in a training message."""
    question: dict[str, str | int] = {
        "round": round,
        "output": survey.output,
        "channels": survey.channels,
        "count": survey.count,
        "method": survey.method,
        "activation": survey.activation,
    }
    return _with_task({MODEL: to_arrays(model), SURVEY: ConfigRecord(dict(question))}, info)


def read_survey(content: RecordDict) -> tuple[GlobalModel, int, Survey]:
    """What a client reads in a survey's message: final model, round, question."""
    order = content.config_records[SURVEY]
    method, activation = order["method"], order["activation"]
    if method not in ("ranks", "votes") or activation not in ("relu", "abs"):
        raise ValueError(f"can't answer with {method!r} of {activation!r} activations")
    survey = Survey(
        str(order["output"]), _whole(order["channels"]), _whole(order["count"]), cast("Method", method),
        cast("Activation", activation),
    )  # fmt: skip
    return from_arrays(content.array_records[MODEL]), _whole(order["round"]), survey


def survey_reply(answer: Tensor, partition: int) -> RecordDict:
    """Content of a client's answer int64 ``[channels]`` to a survey."""
    return RecordDict(
        {
            SURVEY: ArrayRecord({ANSWER: Array(answer.numpy())}),
            CLIENT: ConfigRecord({"partition-id": partition}),
        }
    )


def query_message(node_id: int, info: DataInfo | None = None) -> Message:
    """Asks a node for its partition and role, and whether its data fit the server's, whose facts are ``info``."""
    return Message(content=_with_task({}, info), message_type=MessageType.QUERY, dst_node_id=node_id)


@dataclass(frozen=True)
class Reply:
    """A valid reply of one client."""

    partition: int
    parameters: Tensor
    buffers: Tensor
    num_examples: int
    loss: float
    seconds: float
    rested: bool = False
    """A malicious client's word that its attack found nothing to do this round; for detection figures alone."""


class InvalidReplyError(ValueError):
    """A reply that can't be used; the text is the cause that is counted and shown, made plain here for all of them."""

    def __init__(self, cause: str) -> None:
        super().__init__(plain_text(cause, MAX_CAUSE))


def read_reply(message: Message | Exception | None, partition: int, expected: GlobalModel, max_examples: int) -> Reply:
    """Check one reply completely: error, records, keys, types, shapes, finite values, claimed examples.

    Raises InvalidReplyError; whatever a client sends, nothing else escapes.
    """
    return _received(message, lambda content: _read(content, partition, expected, max_examples))


def read_survey_answer(message: Message | Exception | None, partition: int, survey: Survey) -> Tensor:
    """Check one answer to a survey completely, as ``read_reply`` does; returns int64 ``[channels]``.

    Raises InvalidReplyError; whatever a client sends, nothing else escapes.
    """
    return _received(message, lambda content: _read_answer(content, partition, survey))


def _received(message: Message | Exception | None, read: Callable[[RecordDict], T]) -> T:
    if message is None:
        raise InvalidReplyError("no reply in time")
    if isinstance(message, Exception):
        raise InvalidReplyError(f"could not be fetched: {error_text(message)}")
    try:
        if message.has_error():
            raise InvalidReplyError(f"error {plain_text(message.error.code, 20)}: {_said(message.error.reason)}")
        return read(message.content)
    except (InvalidReplyError, KeyboardInterrupt):
        raise
    except BaseException as error:  # in one process a reply's own code may run here
        raise InvalidReplyError(f"unreadable: {error_text(error)}") from None


def _said(reason: object) -> str:
    """What went wrong in one line, without colours: of a traceback what stands below its last frame."""
    text = reason if type(reason) is str else plain_text(reason)
    traced = "Traceback" in text
    text = uncoloured(text[-LONGEST_READ:] if traced else text[:LONGEST_READ])
    lines = [line for line in text.splitlines() if line.strip()]
    frames = [i for i, line in enumerate(lines[:-1], 1) if line[0].isspace()] if traced else []
    return plain_text("\n".join(lines[frames[-1] if frames else 0 :]), MAX_CAUSE - 20)  # the code goes before it


def _check_records(content: RecordDict, partition: int, kinds: dict[str, type]) -> None:
    """The records of a reply are those of ``kinds``, no more, and its partition is the node's."""
    for key, kind in kinds.items():
        if key not in content:
            raise InvalidReplyError(f"record {key!r} is missing")
        if not isinstance(content[key], kind):
            raise InvalidReplyError(f"record {key!r} is a {type(content[key]).__name__}, not a {kind.__name__}")
    unexpected = sorted(set(content) - set(kinds))
    if unexpected:
        raise InvalidReplyError(f"unexpected records {_keys(unexpected)}")
    claimed = content.config_records[CLIENT].get("partition-id")
    if claimed != partition:
        raise InvalidReplyError(f"claims to be partition {plain_repr(claimed)}, but its node holds {partition}")


def _keys(names: Iterable[str]) -> str:
    """The first names of a record that a client made, each cut short."""
    return f"[{', '.join(plain_repr(name, 20) for name in sorted(names)[:6])}]"


def _read_answer(content: RecordDict, partition: int, survey: Survey) -> Tensor:
    _check_records(content, partition, {SURVEY: ArrayRecord, CLIENT: ConfigRecord})
    arrays = content.array_records[SURVEY]
    if sorted(arrays) != [ANSWER]:
        raise InvalidReplyError(f"arrays {_keys(arrays)}, expected ['{ANSWER}']")
    answer = _vector(arrays[ANSWER], "answers", survey.channels, "int64")
    fault = survey.fault(answer)
    if fault:
        raise InvalidReplyError(fault)
    return answer


def _read(content: RecordDict, partition: int, expected: GlobalModel, max_examples: int) -> Reply:
    _check_records(content, partition, {MODEL: ArrayRecord, METRICS: MetricRecord, CLIENT: ConfigRecord})
    metrics = content.metric_records[METRICS]
    examples = metrics.get("num-examples")
    if not isinstance(examples, int) or isinstance(examples, bool):
        raise InvalidReplyError(f"num-examples is {plain_repr(examples)}, not a whole number")
    if not 1 <= examples <= max_examples:
        claimed = plain_repr(examples)
        raise InvalidReplyError(f"claims {claimed} examples, allowed 1 to {max_examples} (federation.max_examples)")
    arrays = content.array_records[MODEL]
    if sorted(arrays) != sorted((PARAMETERS, BUFFERS)):
        raise InvalidReplyError(f"arrays {_keys(arrays)}, expected ['{BUFFERS}', '{PARAMETERS}']")
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
        rested=_number(metrics.get(ATTACKED)) == 0.0,
    )


def _vector(array: Array, name: str, length: int, dtype: str = "float32") -> Tensor:
    if array.dtype != dtype:
        raise InvalidReplyError(f"{name} are {plain_text(array.dtype, 60)}, not {dtype}")
    if tuple(array.shape) != (length,):
        raise InvalidReplyError(f"{name} have shape {plain_repr(tuple(array.shape))}, expected ({length},)")
    values = array.numpy()
    if values.shape != (length,) or values.dtype != np.dtype(dtype):
        held = f"{plain_text(values.dtype, 60)} {plain_repr(values.shape)}"
        raise InvalidReplyError(f"{name} hold {held}, not what their header says")
    if not np.isfinite(values).all():
        raise InvalidReplyError(f"{name} hold {int((~np.isfinite(values)).sum())} values that are not finite")
    return torch.tensor(values)


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else float("nan")


@dataclass(frozen=True)
class Claim:
    """What a node says that it is, in answer to the partition query."""

    partition: int
    declared_malicious: bool | None = None
    """The role that its configuration fixes; None: the seed decides."""
    own_data: bool = False
    """Whether it trains on images of its own."""


def read_claim(message: Message | Exception | None, clients: int) -> Claim:
    """Check the answer to the partition query completely.

    Raises InvalidReplyError; whatever a node sends, nothing else escapes.
    """
    return _received(message, lambda content: _read_claim(content, clients))


def _read_claim(content: RecordDict, clients: int) -> Claim:
    record = content.get(CLIENT)
    if not isinstance(record, ConfigRecord) or "partition-id" not in record:
        raise InvalidReplyError("its answer to the partition query names no partition-id")
    partition: object = record["partition-id"]
    if not isinstance(partition, int) or isinstance(partition, bool) or not 0 <= partition < clients:
        shown = plain_text(partition, 60)
        shown = repr(shown) if isinstance(partition, str) else shown
        raise InvalidReplyError(f"partition {shown}, allowed 0 to {clients - 1}")
    role = record.get("role")
    malicious = {"malicious": True, "benign": False}.get(role) if isinstance(role, str) else None
    return Claim(partition, malicious, record.get("own-data") is True)
