"""What an attacker remembers, as it travels in a checkpoint's questions and answers."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from flwr.app import Array, ArrayRecord, Message, MessageType, RecordDict
from torch import Tensor

from fedcrucible_core.config.plain_text import plain_text
from strategies.replies import InvalidReplyError, received

MEMORY = "memory"
MEMORY_TYPE = f"{MessageType.QUERY}.{MEMORY}"
"""Message type of both questions; a ClientApp answers them with ``@app.query(MEMORY)``."""
MOST_TENSORS = 64
KINDS = ("float32", "float64", "int64", "bool")


def to_record(memory: Mapping[str, Tensor]) -> ArrayRecord:
    """A memory as it travels."""
    return ArrayRecord({name: Array(tensor.numpy()) for name, tensor in memory.items()})


def memory_message(node_id: int, memory: Mapping[str, Tensor] | None = None) -> Message:
    """Asks a node what it remembers; with ``memory`` it is told to remember that first."""
    content = RecordDict() if memory is None else RecordDict({MEMORY: to_record(memory)})
    return Message(content=content, message_type=MEMORY_TYPE, dst_node_id=node_id)


def read_memory_answer(answer: Message | Exception | None, most_bytes: int) -> dict[str, Tensor]:
    """Check what a node says that it remembers: kinds, number and size of its tensors.

    Raises InvalidReplyError; whatever a client sends, nothing else escapes.
    """
    return received(answer, lambda content: _read(content, most_bytes))


def _read(content: RecordDict, most_bytes: int) -> dict[str, Tensor]:
    record = content.get(MEMORY)
    if not isinstance(record, ArrayRecord) or len(record) > MOST_TENSORS:
        raise InvalidReplyError(f"not a record of at most {MOST_TENSORS} arrays")
    if sum(len(array.data) for array in record.values()) > most_bytes:
        raise InvalidReplyError(f"more than {most_bytes} bytes")
    return {plain_text(name): _tensor(array) for name, array in record.items()}


def _tensor(array: Array) -> Tensor:
    if array.dtype not in KINDS:
        raise InvalidReplyError(f"an array of {plain_text(array.dtype, 40)}, not of {', '.join(KINDS)}")
    return torch.from_numpy(array.numpy().copy())
