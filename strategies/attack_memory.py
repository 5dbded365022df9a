"""What attackers remember between rounds, in checkpoints: asked for when one is kept, given back when a run goes on.

An experiment's attackers are part of it: without their memory a resumed run would not be the run that was interrupted.
Only nodes that are malicious by the experiment's own truth are asked, and what they say touches nothing but their own
later uploads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from flwr.app import Array, ArrayRecord, Message, MessageType, RecordDict
from torch import Tensor

from defenses.base import State
from fedcrucible_core.config.plain_text import plain_text
from strategies.messages import InvalidReplyError
from strategies.nodes import Node

MEMORY = "memory"
MEMORY_TYPE = f"{MessageType.QUERY}.{MEMORY}"
"""Message type of both questions; a ClientApp answers them with ``@app.query(MEMORY)``."""
LARGEST = 16
"""A memory may be this many times as large as the model: attacks keep a few of its vectors."""
MOST_TENSORS = 64
KINDS = ("float32", "float64", "int64", "bool")
_OWNER = "attacker "

Send = Callable[[Sequence[Message]], Mapping[int, Message | Exception]]
"""Sends messages and returns the answers by node."""


def ask(send: Send, attackers: Sequence[Node], model_bytes: int) -> tuple[dict[str, State], list[str]]:
    """The attackers' memories as states of a checkpoint, and a sentence for each that could not be had."""
    answers = send([_message(node, RecordDict()) for node in attackers])
    states: dict[str, State] = {}
    problems = []
    for node in attackers:
        try:
            states[f"{_OWNER}{node.partition}"] = _read(answers.get(node.node_id), LARGEST * model_bytes)
        except InvalidReplyError as error:
            problems.append(f"what attacker {node.partition} remembers is not in the checkpoint: {error}")
    return {owner: memory for owner, memory in states.items() if memory}, problems


def give_back(send: Send, attackers: Sequence[Node], states: Mapping[str, State]) -> list[str]:
    """Have the attackers remember what a checkpoint holds; returns a sentence for each that could not be reached."""
    by_partition = {node.partition: node for node in attackers}
    memories = {int(owner.removeprefix(_OWNER)): memory for owner, memory in states.items() if _is_memory(owner)}
    messages = [
        _message(by_partition[partition], RecordDict({MEMORY: to_record(memory)}))
        for partition, memory in memories.items()
        if partition in by_partition
    ]
    answers = send(messages) if messages else {}
    reached = {node.partition for node in attackers if _is_reply(answers.get(node.node_id))}
    return [f"attacker {p} could not be given back what it remembered" for p in memories if p not in reached]


def without_memories(states: Mapping[str, State]) -> dict[str, State]:
    """The states of a checkpoint that are the server's own."""
    return {owner: state for owner, state in states.items() if not _is_memory(owner)}


def to_record(memory: State) -> ArrayRecord:
    """A memory as it travels."""
    return ArrayRecord({name: Array(tensor.numpy()) for name, tensor in memory.items()})


def _tensor(array: Array) -> Tensor:
    if array.dtype not in KINDS:
        raise InvalidReplyError(f"an array of {plain_text(array.dtype, 40)}, not of {', '.join(KINDS)}")
    return torch.from_numpy(array.numpy().copy())


def _is_memory(owner: str) -> bool:
    return owner.startswith(_OWNER)


def _is_reply(answer: Message | Exception | None) -> bool:
    return isinstance(answer, Message) and not answer.has_error()


def _message(node: Node, content: RecordDict) -> Message:
    return Message(content=content, message_type=MEMORY_TYPE, dst_node_id=node.node_id)


def _read(answer: Message | Exception | None, most_bytes: int) -> State:
    if not isinstance(answer, Message):
        raise InvalidReplyError("no answer" if answer is None else plain_text(answer))
    if answer.has_error():
        raise InvalidReplyError(plain_text(answer.error.reason))
    try:
        record = answer.content.get(MEMORY)
        if not isinstance(record, ArrayRecord) or len(record) > MOST_TENSORS:
            raise InvalidReplyError(f"not a record of at most {MOST_TENSORS} arrays")
        if sum(len(array.data) for array in record.values()) > most_bytes:
            raise InvalidReplyError(f"more than {most_bytes} bytes")
        return {plain_text(name): _tensor(array) for name, array in record.items()}
    except InvalidReplyError:
        raise
    except Exception as error:
        raise InvalidReplyError(plain_text(f"unreadable: {type(error).__name__}: {error}")) from error
