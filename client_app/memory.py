"""What an attacker remembers between rounds, in the node's own state, which every engine carries."""

from __future__ import annotations

import torch
from flwr.app import ArrayRecord, Message, RecordDict
from torch import Tensor

from strategies.memory_messages import MEMORY, to_record

ATTACKER = "attacker"
"""Name of the record in ``context.state``."""


def read_memory(state: RecordDict) -> dict[str, Tensor]:
    """The remembered tensors by name, as copies; none in the first round."""
    record = state.get(ATTACKER)
    if not isinstance(record, ArrayRecord):
        return {}
    return {name: torch.from_numpy(array.numpy().copy()) for name, array in record.items()}


def write_memory(state: RecordDict, memory: dict[str, Tensor]) -> None:
    """Remember these tensors and nothing else."""
    if memory:
        state[ATTACKER] = to_record(memory)
    elif ATTACKER in state:
        del state[ATTACKER]


def answer_memory(msg: Message, state: RecordDict) -> Message:
    """Remember what the server kept of an interrupted run, or tell it what is remembered now."""
    kept = msg.content.get(MEMORY)
    if isinstance(kept, ArrayRecord):
        state[ATTACKER] = kept
    known = state.get(ATTACKER)
    return Message(RecordDict({MEMORY: known if isinstance(known, ArrayRecord) else ArrayRecord()}), reply_to=msg)
